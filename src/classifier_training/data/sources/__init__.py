"""Layouts of data sets, one a file: where the bytes are, label and split of each image; no image is decoded here."""
