"""HTTP itself: bodies, negotiation, pages, problem documents, files."""
