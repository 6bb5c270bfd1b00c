"""The files of one scored pass: predictions, scores, confusion matrix, thumbnails; writer and reader beside each other.

Nothing here runs a model.
"""
