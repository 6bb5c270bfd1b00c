"""Reading and writing files safely: atomic replacement, text, canonical JSON, tables.

Nothing here knows what a run is.
"""
