"""Records in the object store: artifacts, attempts, checkpoints, uploads."""
