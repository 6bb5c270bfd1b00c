"""Serving an exported model over HTTP: the page, the endpoints, the batches, the limits; nothing here imports torch."""
