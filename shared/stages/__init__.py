"""Stage kinds and their parameters, and what a stage sees while it runs."""
