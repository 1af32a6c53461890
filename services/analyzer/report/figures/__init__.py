"""The figures of the report, made from results.json alone; one figure a file (see `registry`)."""
