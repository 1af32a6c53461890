"""Real processes, real faults, the same bits: `make faults`, or `python -m tests.faults`."""
