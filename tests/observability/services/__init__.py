"""A service for tests of metrics, logs and traces."""
