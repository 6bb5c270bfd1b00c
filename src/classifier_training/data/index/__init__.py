"""One memory-mapped table of all images: checked once, with size and content hash; it does not decide splits."""
