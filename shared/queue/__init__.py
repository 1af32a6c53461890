"""Redis: doorbells by Celery, and leases."""
