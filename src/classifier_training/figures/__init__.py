"""Matplotlib figures from plain arrays; nothing here reads a run folder or decides what is shown."""
