"""Grafana's dashboards, written in Python: `python -m observability.dashboards` makes the JSON.

The package grafana-foundation-sdk is pinned to what the deployed Grafana (images.env) understands.
"""
