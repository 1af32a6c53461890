"""Experiments in the store, the decision what happens next, and the reconciler that acts on it."""
