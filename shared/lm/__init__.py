"""Language models and dictionaries at inference: the only part of shared that imports torch."""
