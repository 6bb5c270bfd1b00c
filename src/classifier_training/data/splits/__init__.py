"""Train, validation and test: made from content and seed where none are given.

And written to and read from `split.csv`.
"""
