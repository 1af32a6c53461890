"""What `kubectl apply -k` would send, as objects; and the pods that they make."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OLDEST = (5, 0)  # kustomize; what Debian has as kubernetes-client is older and knows no components
Object = dict[str, Any]

# What operators deploy: the overlays, and others made of the same parts.
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cpu": ("overlays/cpu", ()),
    "gpu": ("overlays/gpu", ()),
    "scaled": ("overlays/gpu", ("keda", "kueue", "kubeflow")),
    "own": ("overlays/own", ()),
    "explained": ("overlays/cpu", ("explain",)),
}


@dataclass(frozen=True)
class Workload:
    """Pods of one template: what makes them, their labels and their specification."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: Object

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def command() -> list[str]:
    """How kustomize is called here; skips the test when there is none, or one too old."""
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("neither kubectl nor kustomize is installed")
    version = subprocess.run(
        [kubectl, "version", "--client", "--output=json"], capture_output=True, check=True
    )
    known = json.loads(version.stdout).get("kustomizeVersion", "v0.0")
    if tuple(int(part) for part in known.lstrip("v").split(".")[:2]) < OLDEST:
        pytest.skip(f"kubectl has kustomize {known}, which knows no components")
    return [kubectl, "kustomize"]


def kustomize(directory: Path) -> list[Object]:
    """The objects of a kustomization, as nothing but the directory gives them."""
    done = subprocess.run([*command(), str(directory)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@lru_cache
def _built(base: str, components: tuple[str, ...], directory: Path) -> list[Object]:
    if not components:
        return kustomize(K8S / base)
    directory.mkdir()
    (directory / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": "lineament",
                "resources": [os.path.relpath(K8S / base, directory)],
                "components": [
                    os.path.relpath(K8S / "components" / name, directory) for name in components
                ],
            }
        )
    )
    return kustomize(directory)


def rendered(variant: str, scratch: Path) -> list[Object]:
    """The objects of a variant; `scratch` is one directory for the whole session."""
    base, components = VARIANTS[variant]
    return _built(base, components, scratch / variant)


def workloads(objects: list[Object]) -> Iterator[Workload]:
    """Everything that makes pods."""
    for one in objects:
        match one["kind"]:
            case "Deployment" | "StatefulSet":
                template = one["spec"]["template"]
            case "TrainingRuntime":
                (job,) = one["spec"]["template"]["spec"]["replicatedJobs"]
                template = job["template"]["spec"]["template"]
            case _:
                continue
        labels = template["metadata"]["labels"]
        yield Workload(one["kind"], one["metadata"]["name"], labels, template["spec"])


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """The objects of a kind, by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def generated(objects: list[Object], kind: str, name: str) -> Object:
    """The ConfigMap or Secret that a generator made under this name."""
    (found,) = (
        one for key, one in of_kind(objects, kind).items() if key.rpartition("-")[0] == name
    )
    return found


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number: 512Mi, 8GB's 8G, 250m."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 1e3, "M": 1e6, "G": 1e9}
    units |= {"m": 1e-3}
    value = str(text)
    for unit, factor in units.items():
        if value.endswith(unit):
            return float(value.removesuffix(unit)) * factor
    return float(value)
