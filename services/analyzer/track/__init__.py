"""Stage `track`: chains of matches through the family, and the features that figures show."""
