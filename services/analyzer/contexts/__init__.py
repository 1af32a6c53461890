"""Stage `contexts`: where each feature fires, and what it does."""
