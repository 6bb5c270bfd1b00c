"""From an index row to a batch: decode, crop, augment, collate, normalise.

It does not choose which image comes next.
"""
