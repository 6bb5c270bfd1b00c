"""Which images an epoch takes and in which order, as a function of seed and epoch, and the record of it.

No image is read here.
"""
