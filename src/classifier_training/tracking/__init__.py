"""Sending a run to TensorBoard, Weights & Biases and MLflow, one file each; what is sent is computed elsewhere.

Lightning's loggers are not used. A Trainer calls its loggers in the middle of the training loop, so that one that fails
or hangs stops the training; they end with the Trainer, before the test score and the export; and each writes figures in
its own way. Little is sent here, once per epoch, and each of these libraries has a small interface for it.
"""
