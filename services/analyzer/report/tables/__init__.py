"""The CSV files: one file a part of results.json."""
