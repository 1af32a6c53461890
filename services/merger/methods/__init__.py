"""Ways to combine the weights of models, one file each."""
