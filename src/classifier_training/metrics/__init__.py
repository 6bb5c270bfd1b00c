"""Scores, intervals and paired tests from arrays; nothing here reads a file or knows a model."""
