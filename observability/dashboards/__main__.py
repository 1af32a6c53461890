"""Writes every dashboard to observability/grafana/dashboards."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards import dictionaries, overview, queue, store, training
from observability.dashboards.panels import text_of

PLACE = Path(__file__).parents[1] / "grafana" / "dashboards"


def dashboards() -> dict[str, Dashboard]:
    """All dashboards by the name of their file."""
    return {
        "overview": overview.dashboard(),
        "training": training.dashboard(),
        "dictionaries": dictionaries.dashboard(),
        "queue": queue.dashboard(),
        "store": store.dashboard(),
    }


def main() -> None:
    """Write a JSON file for each dashboard."""
    PLACE.mkdir(parents=True, exist_ok=True)
    for name, board in dashboards().items():
        (PLACE / f"{name}.json").write_text(text_of(board))


if __name__ == "__main__":
    main()
