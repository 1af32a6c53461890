"""A service with one stage, which asks a language model."""

PRELOAD = ("numpy",)
