"""Inference with language models and dictionaries: the only part of `shared` that imports torch."""
