"""Where a run is sent besides its folder: TensorBoard, Weights & Biases, MLflow; one file each.

Lightning's loggers are not used. A Trainer calls its loggers in the middle of the training loop, so that one that fails
or hangs stops the training; they end with the Trainer, before the test score and the export; and they write no figures
in the same way. What is sent here is little, once an epoch, and each of these libraries has a small interface for it.
"""
