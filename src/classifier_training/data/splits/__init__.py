"""Train, validation and test splits, and `split.csv`; finding the images belongs to `sources`."""
