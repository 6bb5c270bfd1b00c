"""A folder of labelled photos in; a trained, scored, exported and proven image classifier out."""
