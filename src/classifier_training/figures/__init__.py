"""Matplotlib figures from plain arrays and records; nothing here decides what is shown, or when."""
