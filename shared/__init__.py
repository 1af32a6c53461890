"""What every service shares: spec, plan, store, queue and supervisor. No torch."""
