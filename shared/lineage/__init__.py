"""What is said about features along a lineage, computed once for REST and the report."""
