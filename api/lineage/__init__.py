"""What an experiment found, read from its artifacts by the names that users gave."""
