"""A service whose stages behave as a test asks; the engine's tests run it for real."""
