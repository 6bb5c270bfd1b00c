"""The files of one scored pass: predictions, scores, calibration, confusion matrix, thumbnails; writer with reader.

Nothing here runs a model.
"""
