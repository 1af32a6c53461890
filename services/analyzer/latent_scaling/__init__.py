"""Stage `latent_scaling`: is a feature without a match in the other model after all?"""
