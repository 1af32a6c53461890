"""The alert rules as an object of the Prometheus operator: `python k8s/rules.py`.

kustomize cannot put a file into the middle of an object; a test compares this with the sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SOURCES = HERE.parent / "observability" / "prometheus" / "rules"
RESULT = HERE / "components" / "prometheus-operator" / "rules.yaml"
HEADER = "# Made of observability/prometheus/rules by `python k8s/rules.py`; edit those.\n"


def groups() -> list[dict[str, Any]]:
    """The groups of all rule files, in the order of the files' names."""
    merged: list[dict[str, Any]] = []
    for source in sorted(SOURCES.glob("*.yml")):
        merged += yaml.safe_load(source.read_text())["groups"]
    return merged


def text() -> str:
    """The PrometheusRule as YAML."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "lineament", "labels": {"app.kubernetes.io/part-of": "lineament"}},
        "spec": {"groups": groups()},
    }
    return HEADER + yaml.safe_dump(rule, sort_keys=False, width=100, allow_unicode=True)


if __name__ == "__main__":
    RESULT.write_text(text())
