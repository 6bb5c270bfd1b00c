"""The files of one scored pass: predictions, scores, confusion matrix, thumbnails; each writer with its reader.

Nothing here runs a model.
"""
