"""The `lineament` command, and the REST client under it."""
