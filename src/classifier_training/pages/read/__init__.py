"""What a page needs, read from a run folder.

Missing or damaged files become sentences on the page, never exceptions.
"""
