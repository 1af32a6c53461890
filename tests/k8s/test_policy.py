"""What every pod must keep, whichever way Lineament is deployed."""

from __future__ import annotations

import re

import pytest

from shared.stages.kinds import SERVICES
from tests.k8s.rendering import Object, Workload, generated, of_kind, quantity, workloads

CONTROL = {"api", "reconciler", "redis", "minio", "prometheus", "alertmanager", "grafana"}
MARGIN = 30  # seconds that a worker has beyond its stage's grace, to store the last word


@pytest.fixture
def pods(objects: list[Object]) -> list[Workload]:
    found = list(workloads(objects))
    assert {"api", "reconciler", *SERVICES} <= {p.name for p in found}
    return found


def containers(pod: Workload) -> list[Object]:
    assert "hostNetwork" not in pod.spec
    assert "initContainers" not in pod.spec, "look at them here too"
    return list(pod.spec["containers"])


def workers(pods: list[Workload]) -> list[Workload]:
    return [pod for pod in pods if pod.labels["app.kubernetes.io/component"] == "worker"]


def test_the_namespace_enforces_the_restricted_level(objects: list[Object]) -> None:
    labels = of_kind(objects, "Namespace")["lineament"]["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_everything_but_cluster_objects_lies_in_the_namespace(objects: list[Object]) -> None:
    for one in objects:
        if one["kind"] not in ("Namespace", "PriorityClass"):
            assert one["metadata"]["namespace"] == "lineament", one["metadata"]["name"]


def test_pods_are_not_root_and_have_the_default_seccomp_profile(pods: list[Workload]) -> None:
    for pod in pods:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod
        assert context["runAsUser"] > 0, pod
        assert context["fsGroup"] > 0, pod
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod


def test_containers_drop_all_capabilities_and_cannot_write_their_root(pods: list[Workload]) -> None:
    for pod in pods:
        for one in containers(pod):
            context = one["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}, pod
            assert context["allowPrivilegeEscalation"] is False, pod
            assert context["readOnlyRootFilesystem"] is True, pod
            assert not context.get("privileged"), pod


def test_volumes_are_of_the_kinds_that_the_restricted_level_allows(pods: list[Workload]) -> None:
    for pod in pods:
        for volume in pod.spec["volumes"]:
            assert volume.keys() & {"emptyDir", "configMap", "projected"}, (str(pod), volume)


def test_no_pod_has_a_token_or_the_addresses_of_services(
    objects: list[Object], pods: list[Workload]
) -> None:
    account = of_kind(objects, "ServiceAccount")["lineament"]
    assert account["automountServiceAccountToken"] is False
    for pod in pods:
        assert pod.spec["automountServiceAccountToken"] is False, pod
        assert pod.spec["enableServiceLinks"] is False, pod
        assert pod.spec["serviceAccountName"] == "lineament", pod


def test_containers_have_requests_and_limits(pods: list[Workload]) -> None:
    for pod in pods:
        for one in containers(pod):
            asked, most = one["resources"]["requests"], one["resources"]["limits"]
            for name in ("cpu", "memory"):
                assert 0 < quantity(asked[name]) <= quantity(most[name]), (str(pod), name)


def test_containers_have_all_three_probes_on_ports_that_they_open(pods: list[Workload]) -> None:
    for pod in pods:
        for one in containers(pod):
            ports = {port["name"] for port in one["ports"]}
            for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = one[name]
                aim = probe.get("httpGet") or probe.get("tcpSocket")
                assert aim is None or aim["port"] in ports, (str(pod), name)
                assert aim or "exec" in probe, (str(pod), name)


def test_liveness_waits_longer_than_readiness(pods: list[Workload]) -> None:
    """Out of the Service first; killed only when that did not help."""

    def patience(probe: Object) -> int:
        return int(probe["periodSeconds"]) * int(probe.get("failureThreshold", 3))

    for pod in pods:
        for one in containers(pod):
            ready, live = patience(one["readinessProbe"]), patience(one["livenessProbe"])
            assert ready <= live, (str(pod), one["name"])


def test_images_have_a_release_tag(pods: list[Workload]) -> None:
    for pod in pods:
        for one in containers(pod):
            registry, _, rest = one["image"].partition("/")
            assert "." in registry, f"{one['image']} leaves the registry to the node"
            tag = rest.partition(":")[2].partition("@")[0]
            assert re.search(r"\d+[.-]\d+[.-]\d+", tag), one["image"]
            assert "latest" not in tag, one["image"]


def test_what_keeps_the_books_comes_before_workers(
    objects: list[Object], pods: list[Workload]
) -> None:
    classes = of_kind(objects, "PriorityClass")
    assert classes["lineament-worker"]["value"] < classes["lineament-control"]["value"]
    assert classes["lineament-worker"]["preemptionPolicy"] == "Never"
    for pod in pods:
        expected = "lineament-control" if pod.name in CONTROL else "lineament-worker"
        assert pod.spec["priorityClassName"] == expected, pod


def test_temporary_volumes_have_a_size_that_the_container_may_fill(pods: list[Workload]) -> None:
    for pod in pods:
        limits: dict[str, float] = {}
        for one in containers(pod):
            for name, value in one["resources"]["limits"].items():
                limits[name] = limits.get(name, 0) + quantity(value)
        temporary = [v["emptyDir"] for v in pod.spec["volumes"] if "emptyDir" in v]
        assert all("sizeLimit" in one for one in temporary), pod
        disk = sum(quantity(v["sizeLimit"]) for v in temporary if v.get("medium") != "Memory")
        memory = sum(quantity(v["sizeLimit"]) for v in temporary if v.get("medium") == "Memory")
        if "ephemeral-storage" in limits:
            assert disk <= limits["ephemeral-storage"], pod
        assert memory <= limits["memory"] / 4, pod


def test_workers_have_shared_memory_and_writable_caches(pods: list[Workload]) -> None:
    for pod in workers(pods):
        (one,) = containers(pod)
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in one["volumeMounts"]}
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory", pod
        for path in ("/data", "/tmp", "/cache/huggingface", "/cache/triton"):
            assert "emptyDir" in mounts[path], (str(pod), path)


def test_workers_have_longer_to_leave_than_their_stage(
    objects: list[Object], pods: list[Workload]
) -> None:
    settings = generated(objects, "ConfigMap", "settings")["data"]
    grace = float(settings["LINEAMENT_GRACE"])
    assert grace > float(settings["LINEAMENT_CHECKPOINT"])
    for pod in workers(pods):
        assert pod.spec["terminationGracePeriodSeconds"] >= grace + MARGIN, pod


def test_workers_on_gpus_have_one_each_and_others_none(
    objects: list[Object], pods: list[Workload]
) -> None:
    device = generated(objects, "ConfigMap", "settings")["data"]["LINEAMENT_DEVICE"]
    for pod in workers(pods):
        (one,) = containers(pod)
        gpus = one["resources"]["limits"].get("nvidia.com/gpu")
        assert gpus == ("1" if device == "cuda" else None), pod
        assert one["image"].endswith("-cuda") == (device == "cuda"), pod


def test_replicas_are_spread_over_machines(objects: list[Object]) -> None:
    checked = 0
    for one in of_kind(objects, "Deployment").values():
        template = one["spec"]["template"]
        if template["metadata"]["labels"]["app.kubernetes.io/component"] == "monitoring":
            continue
        (spread, *_) = template["spec"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway", "one machine must do too"
        chosen = spread["labelSelector"]["matchLabels"]
        assert chosen.items() <= template["metadata"]["labels"].items()
        assert chosen["app.kubernetes.io/name"] == one["metadata"]["name"]
        checked += 1
    assert checked == 6


def test_every_workload_has_a_budget_that_never_blocks_a_drain(objects: list[Object]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    kept = [pod for pod in workloads(objects) if pod.kind != "TrainingRuntime"]
    assert budgets.keys() == {pod.name for pod in kept}
    for pod in kept:
        spec = budgets[pod.name]["spec"]
        assert "minAvailable" not in spec, "of one replica that is all of them"
        assert spec["maxUnavailable"] >= 1
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        chosen = spec["selector"]["matchLabels"].items()
        # One that chose the pods of a job too would refuse every eviction: jobs have no scale.
        assert [str(one) for one in workloads(objects) if chosen <= one.labels.items()] == [
            str(pod)
        ]


def test_services_find_their_pods_and_ports(objects: list[Object]) -> None:
    pods = list(workloads(objects))
    for name, service in of_kind(objects, "Service").items():
        chosen = service["spec"]["selector"].items()
        (pod,) = (one for one in pods if chosen <= one.labels.items())
        open_ports = {p["name"]: p["containerPort"] for c in containers(pod) for p in c["ports"]}
        for port in service["spec"]["ports"]:
            assert open_ports[port["targetPort"]] == port["port"], name


def test_a_changed_setting_or_secret_restarts_what_reads_it(objects: list[Object]) -> None:
    """Names of ConfigMaps end in a hash of their content, and so do those of generated Secrets."""
    made = {kind: of_kind(objects, kind) for kind in ("ConfigMap", "Secret")}
    referred = 0
    for pod in workloads(objects):
        for one in containers(pod):
            for source in one.get("envFrom", []):
                assert source["configMapRef"]["name"] in made["ConfigMap"], pod
                referred += 1
        for volume in pod.spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in made["ConfigMap"], pod
                referred += 1
    assert referred >= 6
    for names in made.values():
        assert all(re.search(r"-[a-z0-9]{10}$", name) for name in names)
