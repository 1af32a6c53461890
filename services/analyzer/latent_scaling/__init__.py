"""Stage `latent_scaling`: is a feature in the other model's activations all the same?"""
