"""Which images an epoch takes, in which order, and the record of it; no image is read here."""
