"""Experiments in the store, what should happen next, and the reconciler that sees to it."""
