"""Every object against the schema of its kind, strictly: an unknown field is an error."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.k8s.rendering import K8S, Object, kustomize, rendered

kubernetes_validate = pytest.importorskip("kubernetes_validate")
keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1")
operator = pytest.importorskip("cloudcoil.models.prometheus_operator.v1")
trainer = pytest.importorskip("kubeflow_trainer_api.models")

# The oldest release that has everything used here (preStop sleep) on by default, and the newest.
RELEASES = ("1.30", "1.37")


class Strict(BaseModel):
    """A model of ours, of the fields that are used, after the documented API: Kueue has no typed
    models for Python."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Meta(Strict):
    name: str
    namespace: str | None = None


class LocalQueueSpec(Strict):
    clusterQueue: str


class LocalQueue(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["LocalQueue"]
    metadata: Meta
    spec: LocalQueueSpec


class ResourceFlavor(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["ResourceFlavor"]
    metadata: Meta


class Quota(Strict):
    name: str
    nominalQuota: int | str


class Flavor(Strict):
    name: str
    resources: list[Quota]


class ResourceGroup(Strict):
    coveredResources: list[str]
    flavors: list[Flavor]


class NamespaceSelector(Strict):
    matchLabels: dict[str, str]


class Preemption(Strict):
    withinClusterQueue: Literal["Never", "LowerPriority", "LowerOrNewerEqualPriority"]


class ClusterQueueSpec(Strict):
    namespaceSelector: NamespaceSelector
    queueingStrategy: Literal["StrictFIFO", "BestEffortFIFO"]
    preemption: Preemption
    resourceGroups: list[ResourceGroup] = Field(max_length=16)


class ClusterQueue(Strict):
    apiVersion: Literal["kueue.x-k8s.io/v1beta2"]
    kind: Literal["ClusterQueue"]
    metadata: Meta
    spec: ClusterQueueSpec


def typed(kind: str) -> Callable[[Object], None]:
    """Check by a typed model that ignores what it does not know: what it knows must be all."""
    model = {
        "ScaledObject": keda.ScaledObject,
        "PodMonitor": operator.PodMonitor,
        "PrometheusRule": operator.PrometheusRule,
        "TrainJob": trainer.TrainerV1alpha1TrainJob,
        "TrainingRuntime": trainer.TrainerV1alpha1TrainingRuntime,
    }[kind]

    def check(one: Object) -> None:
        known = model.model_validate(one).model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude_none=True
        )
        assert lost(one, known) == []

    return check


def check_runtime(one: Object) -> None:
    """Its pods by Kubernetes' own schema: the typed model has no quantities and no named ports."""
    runtime = copy.deepcopy(one)
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {"name": "node"} | pod["metadata"]},
        RELEASES[-1],
        strict=True,
    )
    job["template"]["spec"]["template"] = {"spec": {"containers": []}}
    typed("TrainingRuntime")(runtime)


def lost(given: Any, known: Any, path: str = "") -> list[str]:
    """The paths of fields that a model dropped."""
    if isinstance(given, dict):
        if not isinstance(known, dict):
            return [path]
        return [
            name
            for key, value in given.items()
            for name in (
                lost(value, known[key], f"{path}.{key}") if key in known else [f"{path}.{key}"]
            )
        ]
    if isinstance(given, list):
        if not isinstance(known, list) or len(given) != len(known):
            return [path]
        return [name for a, b in zip(given, known, strict=True) for name in lost(a, b, f"{path}[]")]
    return []


CUSTOM: dict[str, Callable[[Object], Any]] = {
    **{kind: typed(kind) for kind in ("ScaledObject", "PodMonitor", "PrometheusRule", "TrainJob")},
    "TrainingRuntime": check_runtime,
    "LocalQueue": LocalQueue.model_validate,
    "ResourceFlavor": ResourceFlavor.model_validate,
    "ClusterQueue": ClusterQueue.model_validate,
}


@pytest.mark.parametrize("release", RELEASES)
def test_objects_of_kubernetes_are_strictly_valid(objects: list[Object], release: str) -> None:
    checked = 0
    for one in objects:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, release, strict=True)
            checked += 1
    assert checked > 30


def test_a_misspelt_field_is_found() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    kubernetes_validate.validate(service | {"spec": {"ports": [{"port": 1}]}}, "1.37", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service | {"spec": {"prots": []}}, "1.37", strict=True)


def test_overlays_need_no_custom_resource_definitions(scratch: Path) -> None:
    for overlay in ("cpu", "gpu"):
        assert not {one["kind"] for one in rendered(overlay, scratch)} & CUSTOM.keys()


@pytest.mark.parametrize(
    ("variant", "kinds"),
    [
        ("scaled", {"ScaledObject": 4, "LocalQueue": 1, "TrainingRuntime": 1}),
        ("own", {"PodMonitor": 6, "PrometheusRule": 1}),
    ],
)
def test_custom_objects_fit_their_typed_models(
    variant: str, kinds: dict[str, int], scratch: Path
) -> None:
    found = [one for one in rendered(variant, scratch) if one["kind"] in CUSTOM]
    assert {kind: sum(one["kind"] == kind for one in found) for kind in kinds} == kinds
    for one in found:
        CUSTOM[one["kind"]](one)


@pytest.mark.parametrize("kind", ["ScaledObject", "PodMonitor", "PrometheusRule"])
def test_a_misspelt_field_of_a_custom_object_is_found(kind: str, scratch: Path) -> None:
    variant = "scaled" if kind == "ScaledObject" else "own"
    one = next(one for one in rendered(variant, scratch) if one["kind"] == kind)
    with pytest.raises(AssertionError, match="misspelt"):
        CUSTOM[kind](one | {"spec": one["spec"] | {"misspelt": 1}})


def test_the_quota_of_the_cluster_and_the_training_job_fit_their_models() -> None:
    quota = kustomize(K8S / "components" / "kueue" / "cluster")
    job = yaml.safe_load((K8S / "components" / "kubeflow" / "trainjob.yaml").read_text())
    assert {one["kind"] for one in quota} == {"ResourceFlavor", "ClusterQueue"}
    for one in [*quota, job]:
        assert "namespace" not in one["metadata"]
        CUSTOM[one["kind"]](one)
