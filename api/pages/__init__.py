"""HTML pages over the REST API."""
