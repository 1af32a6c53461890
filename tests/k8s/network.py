"""Who may speak to whom, worked out from network policies as a cluster does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from tests.k8s.rendering import Object, of_kind, workloads

HERE = "lineament"


@dataclass(frozen=True)
class Peer:
    """Something that speaks or is spoken to: a pod here or elsewhere, or an address."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    namespace: tuple[tuple[str, str], ...] = ()
    address: str = ""

    @property
    def inside(self) -> bool:
        """True for pods whose traffic the policies rule."""
        return ("kubernetes.io/metadata.name", HERE) in self.namespace


@dataclass(frozen=True, order=True)
class Flow:
    """One direction that is open: who asks whom, at which port."""

    source: str
    target: str
    port: int


def elsewhere(who: str, namespace: str, **labels: str) -> Peer:
    """A pod of another namespace."""
    own = tuple((f"app.kubernetes.io/{key}", value) for key, value in labels.items())
    return Peer(who, own, (("kubernetes.io/metadata.name", namespace),))


OUTSIDE = (
    Peer("users", (), (("kubernetes.io/metadata.name", "gateway"), ("lineament-users", "true"))),
    Peer("language-model", (), (("lineament-explains", "true"),)),
    elsewhere("stranger", "default", name="prometheus"),
    elsewhere("dns", "kube-system"),
    elsewhere("keda", "keda", name="keda-operator"),
    elsewhere("their-prometheus", "monitoring", name="prometheus"),
    Peer("hub", address="203.0.113.7"),
    Peer("metadata-service", address="169.254.169.254"),
    Peer("kubernetes-api", address="10.96.0.1"),
    Peer("their-redis", address="10.20.0.15"),
    Peer("their-s3", address="10.20.0.16"),
)
PORTS = {22, 53, 80, 443, 6379, 8000, 9000, 9090, 9093, 9100, 9121, 3000}


def inside(objects: list[Object]) -> list[Peer]:
    """The pods of the installation."""
    home = (("kubernetes.io/metadata.name", HERE),)
    return [Peer(pod.name, tuple(pod.labels.items()), home) for pod in workloads(objects)]


def matches(selector: Object, labels: tuple[tuple[str, str], ...]) -> bool:
    """Does a label selector choose these labels; an empty one chooses everything."""
    known = dict(labels)
    for key, value in selector.get("matchLabels", {}).items():
        if known.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", rule
        if known.get(rule["key"]) not in rule["values"]:
            return False
    return True


def _fits(rule: Object, peer: Peer) -> bool:
    """Does one entry of `from` or `to` mean this peer."""
    if "ipBlock" in rule:
        if not peer.address:
            return False
        address, block = ip_address(peer.address), rule["ipBlock"]
        inner = [*block.get("except", [])]
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(one) for one in inner
        )
    if peer.address:
        return False
    if "namespaceSelector" in rule:
        if not matches(rule["namespaceSelector"], peer.namespace):
            return False
    elif not peer.inside:
        return False
    return matches(rule.get("podSelector", {}), peer.labels)


def _open(objects: list[Object], ruled: Peer, other: Peer, direction: str) -> set[int]:
    """The ports that the policies for `ruled` open in one direction towards `other`."""
    side = {"Ingress": "from", "Egress": "to"}[direction]
    ports: set[int] = set()
    chosen = False
    for policy in of_kind(objects, "NetworkPolicy").values():
        spec = policy["spec"]
        if direction not in spec["policyTypes"] or not matches(spec["podSelector"], ruled.labels):
            continue
        chosen = True
        for rule in spec.get(direction.lower(), []):
            assert rule.get(side), "a rule without peers is open to all"
            assert rule.get("ports"), "a rule without ports opens all"
            if any(_fits(entry, other) for entry in rule[side]):
                ports |= {port["port"] for port in rule["ports"]}
    return ports if chosen else set(PORTS)


def flows(objects: list[Object]) -> Iterator[Flow]:
    """Everything that is open, of what could be asked for on PORTS."""
    pods = inside(objects)
    for source in (*pods, *OUTSIDE):
        for target in (*pods, *OUTSIDE):
            if source == target or not (source.inside or target.inside):
                continue
            may_leave = _open(objects, source, target, "Egress") if source.inside else PORTS
            may_enter = _open(objects, target, source, "Ingress") if target.inside else PORTS
            yield from (Flow(source.name, target.name, port) for port in may_leave & may_enter)


def half_open(objects: list[Object]) -> Iterator[Flow]:
    """What one pod may send and another may not take, or the other way round."""
    pods = inside(objects)
    for source in pods:
        for target in pods:
            out = _open(objects, source, target, "Egress")
            into = _open(objects, target, source, "Ingress")
            if source != target:
                yield from (Flow(source.name, target.name, port) for port in out ^ into)
