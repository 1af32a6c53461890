"""What goes through Redis: doorbells (Celery messages) and leases."""
