"""Stage `match`: features of a parent against those of a child, with their controls."""
