"""Features of images: the input of a classifier's head, computed once and kept for other runs.

What is fitted on them is in `models` and `training`.
"""
