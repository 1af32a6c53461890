"""Stage `crosscoder`: one dictionary of two models at once."""
