"""Formats: one folder each, found by listing. `format.py` says what a folder's row may hold."""
