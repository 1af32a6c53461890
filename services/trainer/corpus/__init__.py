"""Stage `corpus`: documents from the hub, an upload or this project, without duplicates."""
