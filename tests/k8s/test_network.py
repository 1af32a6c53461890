"""The network policies open the flows of the design (how data flows), and no other."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from shared.stages.kinds import SERVICES
from tests.k8s.network import Flow, flows, half_open, inside
from tests.k8s.rendering import ROOT, Object, of_kind, rendered

OURS = ("api", "reconciler", *SERVICES)
ASKS_THE_HUB = ("api", "trainer", "sae")  # it pins names; they import


def between(sources: tuple[str, ...], targets: tuple[str, ...], port: int) -> set[Flow]:
    return {Flow(source, target, port) for source, target in product(sources, targets)}


def stores(redis: str, s3: str, s3_port: int, clients: tuple[str, ...]) -> set[Flow]:
    """Queue, leases and the object store: all that processes share."""
    return between(clients, (redis,), 6379) | between(clients, (s3,), s3_port)


USERS = between(("users",), ("api",), 8000) | between(ASKS_THE_HUB, ("hub",), 443)
TRIAL = stores("redis", "minio", 9000, OURS)
MONITORING = (
    between(("prometheus",), ("api",), 8000)
    | between(("prometheus",), ("reconciler", *SERVICES), 9100)
    | {Flow("prometheus", "redis", 9121), Flow("prometheus", "minio", 9000)}
    | {Flow("grafana", "prometheus", 9090), Flow("users", "grafana", 3000)}
    | {Flow("prometheus", "alertmanager", 9093), Flow("alertmanager", "hub", 443)}  # any host
)
THEIR_MONITORING = between(("their-prometheus",), ("api",), 8000) | between(
    ("their-prometheus",), ("reconciler", *SERVICES), 9100
)
EXPECTED = {
    "cpu": USERS | TRIAL | MONITORING,
    "gpu": USERS | TRIAL | MONITORING,
    "scaled": USERS
    | TRIAL
    | MONITORING
    | {Flow("keda", "prometheus", 9090), Flow("prometheus", "lineament-trainer", 9100)}
    | {Flow("lineament-trainer", "hub", 443)}
    | stores("redis", "minio", 9000, ("lineament-trainer",)),
    "explained": USERS
    | TRIAL
    | MONITORING
    | {Flow("analyzer", "hub", 443), Flow("analyzer", "language-model", 8000)},
    "own": USERS | THEIR_MONITORING | stores("their-redis", "their-s3", 443, OURS),
}


@pytest.mark.parametrize("variant", EXPECTED)
def test_the_flows_are_those_of_the_design(variant: str, scratch: Path) -> None:
    objects = rendered(variant, scratch)
    names = {Flow(pod.name, "dns", 53) for pod in inside(objects)}

    found = set(flows(objects))

    assert sorted(found - EXPECTED[variant] - names) == [], "open, but not in the design"
    assert sorted((EXPECTED[variant] | names) - found) == [], "in the design, but closed"


def test_nothing_is_open_on_one_side_only(objects: list[Object]) -> None:
    assert sorted(half_open(objects)) == []


def test_what_no_policy_names_may_neither_speak_nor_be_spoken_to(objects: list[Object]) -> None:
    spec = of_kind(objects, "NetworkPolicy")["default-deny"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("service", SERVICES)
def test_who_downloads_from_the_hub_may_reach_it(service: str) -> None:
    downloads = re.compile(r"shared\.(data\.download|resolve\.hub)|huggingface_hub|load_dataset")
    sources = (ROOT / "services" / service).rglob("*.py")
    asks = any(downloads.search(source.read_text()) for source in sources)
    assert asks == (service in ASKS_THE_HUB)
