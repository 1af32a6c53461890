"""Sparse activations: which entries are active, and products over these alone."""
