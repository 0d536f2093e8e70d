"""Formats: one folder each. `format.py` defines what the row of a folder may say."""
