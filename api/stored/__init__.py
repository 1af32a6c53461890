"""What routes read out of finished artifacts: files of a stage, both sides of an edge."""
