"""results.json: one file a part of it."""
