"""Resolve a spec: pin everything that it names and that could change."""
