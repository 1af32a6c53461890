"""The services of the job queue; they meet only through artifacts."""
