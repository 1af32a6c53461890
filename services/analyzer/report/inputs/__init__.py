"""What a report reads: the results and the files of its input stages, by role."""
