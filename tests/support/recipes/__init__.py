"""Entries that a test adds to a copy of the tree."""
