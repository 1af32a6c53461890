"""How explanations are measured: which features, which held-out windows, which scores."""
