"""The scores of an explanation, one a file: see `registry`."""
