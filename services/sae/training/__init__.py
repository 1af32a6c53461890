"""Training a dictionary: the loop, its optimiser, dead features, steering, resuming."""
