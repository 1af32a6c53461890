"""Stage `contexts`: where each feature fires, and its effect on the logits."""
