"""Terminal output: messages, progress bars and score tables, also written to the log. No decisions."""
