"""The manifests say the same as what they deploy: settings, images, rules, dashboards."""

from __future__ import annotations

import re
import tomllib
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from shared.settings import Settings
from shared.stages.kinds import SERVICES
from tests.k8s.rendering import K8S, ROOT, Object, generated, of_kind, quantity, rendered, workloads

OBSERVABILITY = ROOT / "observability"
OTHERS = re.compile(r"HF_TOKEN_PATH|REDIS_ADDR|REDIS_PASSWORD|REDISCLI_AUTH|MINIO_\w+|GF_\w+")
SETTINGS = {f"LINEAMENT_{name.upper()}" for name in Settings.model_fields} | {"LINEAMENT_SECRETS"}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def pinned_images() -> dict[str, str]:
    """The lines of images.env."""
    path = ROOT / "images.env"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def rules_module() -> ModuleType:
    spec = util.spec_from_file_location("k8s_rules", K8S / "rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_exists(objects: list[Object]) -> None:
    names = {name for one in of_kind(objects, "ConfigMap").values() for name in one["data"]}
    used = {name for name in names if name.isupper()}
    for pod in workloads(objects):
        for one in pod.spec["containers"]:
            used |= {variable["name"] for variable in one.get("env", [])}
    assert "LINEAMENT_METRICS_PORT" in used
    assert {name for name in used if not OTHERS.fullmatch(name)} - SETTINGS == set()


def test_every_file_of_a_secret_is_a_setting(objects: list[Object]) -> None:
    paths = set()
    for pod in workloads(objects):
        for volume in pod.spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                paths |= {item["path"] for item in source["secret"].get("items", [])}
    assert "lineament_redis_url" in paths
    assert {path.upper() for path in paths - {"hub_token"}} <= SETTINGS


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_a_process_accepts_the_settings_and_secrets_of_an_overlay(
    overlay: str, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = rendered(overlay, scratch)
    given = dict(generated(objects, "ConfigMap", "settings")["data"])
    # A cluster mounts files through two links, so that all of them change in one moment.
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..data").symlink_to("..2026")
    for name in ("redis-credentials", "s3-credentials"):
        for key in yaml.safe_load(yaml.safe_dump(generated(objects, "Secret", name)["data"])):
            (tmp_path / "..2026" / key).write_text(f"redis://{key}")
            (tmp_path / key).symlink_to(f"..data/{key}")
    for name, value in (given | {"LINEAMENT_SECRETS": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)

    settings = Settings()

    assert settings.s3_endpoint == "http://minio:9000"
    assert settings.redis_url == "redis://lineament_redis_url"
    assert settings.s3_access_key == "redis://lineament_s3_access_key"
    assert settings.device == {"cpu": "cpu", "gpu": "cuda"}[overlay]


def test_an_overlay_has_the_last_word_on_settings(scratch: Path) -> None:
    """A generator in it would not: components come after generators."""
    settings = generated(rendered("own", scratch), "ConfigMap", "settings")["data"]
    assert settings["LINEAMENT_S3_ENDPOINT"] == "https://s3.example.org"
    assert settings["LINEAMENT_GRACE"] == "500", "components/gpu says 540"


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_what_processes_keep_on_disk_fits_into_their_volumes(overlay: str, scratch: Path) -> None:
    objects = rendered(overlay, scratch)
    settings = generated(objects, "ConfigMap", "settings")["data"]
    for pod in workloads(objects):
        volumes = {volume["name"]: volume.get("emptyDir", {}) for volume in pod.spec["volumes"]}
        if pod.name in SERVICES:
            # The cache, and as much again that a stage reads and writes beside it.
            room = 2 * int(settings["LINEAMENT_CACHE_LIMIT"])
        elif pod.name == "api":
            room = 2 * int(settings["LINEAMENT_UPLOAD_LIMIT"])
        else:
            continue
        assert quantity(volumes["data"]["sizeLimit"]) >= room, pod.name


def test_the_release_is_that_of_the_project(objects: list[Object]) -> None:
    ours = [
        container["image"]
        for pod in workloads(objects)
        for container in pod.spec["containers"]
        if "/lineament-" in container["image"]
    ]
    assert len(ours) >= 6
    for image in ours:
        assert re.fullmatch(rf"ghcr\.io/lineament/lineament-\w+:{VERSION}(-cuda)?", image)


def test_images_of_others_are_those_of_compose(objects: list[Object]) -> None:
    pinned = set(pinned_images().values())
    used = {c["image"] for pod in workloads(objects) for c in pod.spec["containers"]}
    assert {image for image in used if "/lineament-" not in image} <= pinned


def test_every_image_of_ours_is_a_target_of_the_dockerfile(objects: list[Object]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    for pod in workloads(objects):
        for one in pod.spec["containers"]:
            if found := re.search(r"/lineament-(\w+):", one["image"]):
                assert found[1] in targets, one["image"]


def test_pods_run_as_the_user_of_the_images_and_write_where_they_write(
    objects: list[Object],
) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    users = set(re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE))
    written = set(re.findall(r"(?:HOME|HF_HOME|_DATA|_DIR)=(/\S+)", dockerfile))
    for pod in workloads(objects):
        (one, *_) = pod.spec["containers"]
        if "/lineament-" not in one["image"]:
            continue
        context = pod.spec["securityContext"]
        assert users == {(str(context["runAsUser"]), str(context["runAsGroup"]))}, pod
        mounted = [Path(mount["mountPath"]) for mount in one["volumeMounts"]]
        for path in written:
            if pod.labels["app.kubernetes.io/component"] == "worker":
                within = [Path(path), *Path(path).parents]
                assert any(mount in within for mount in mounted), (str(pod), path)


def test_ports_are_those_of_the_settings_and_images(objects: list[Object]) -> None:
    metrics = int(generated(objects, "ConfigMap", "settings")["data"]["LINEAMENT_METRICS_PORT"])
    for pod in workloads(objects):
        ports = {port["name"]: port["containerPort"] for port in pod.spec["containers"][0]["ports"]}
        if pod.name in ("reconciler", *SERVICES):
            assert ports == {"metrics": metrics}
        if pod.name == "api":
            assert ports == {"http": 8000}


@pytest.mark.parametrize(
    ("folder", "name", "pattern"),
    [
        ("prometheus/rules", "prometheus-rules", "*.yml"),
        ("alertmanager", "alertmanager", "*.yml"),
        ("grafana/dashboards", "grafana-dashboards", "*.json"),
        ("grafana/provisioning/datasources", "grafana-datasources", "*.y*ml"),
        ("grafana/provisioning/dashboards", "grafana-providers", "*.y*ml"),
    ],
)
def test_every_file_of_observability_reaches_the_cluster(
    folder: str, name: str, pattern: str, scratch: Path
) -> None:
    files = {path.name: path.read_text() for path in (OBSERVABILITY / folder).glob(pattern)}
    assert files
    assert generated(rendered("cpu", scratch), "ConfigMap", name)["data"] == files


def test_dashboards_are_mounted_where_grafana_is_told_to_look(scratch: Path) -> None:
    objects = rendered("cpu", scratch)
    (grafana,) = (pod for pod in workloads(objects) if pod.name == "grafana")
    mounts = {m["name"]: m["mountPath"] for m in grafana.spec["containers"][0]["volumeMounts"]}
    providers = generated(objects, "ConfigMap", "grafana-providers")["data"].values()
    paths = {
        one["options"]["path"] for text in providers for one in yaml.safe_load(text)["providers"]
    }
    assert paths == {mounts["dashboards"]}
    sources = generated(objects, "ConfigMap", "grafana-datasources")["data"].values()
    urls = {one["url"] for text in sources for one in yaml.safe_load(text)["datasources"]}
    assert urls == {"http://prometheus:9090"}
    assert "prometheus" in of_kind(objects, "Service")


def test_the_rules_of_the_operator_are_made_of_those_of_prometheus() -> None:
    rules = rules_module()
    assert rules.text() == rules.RESULT.read_text(), "run python k8s/rules.py"


def test_prometheus_here_has_the_jobs_of_compose_that_exist_here() -> None:
    """Rules and dashboards tell processes apart by the names of jobs."""

    def jobs(path: Path) -> set[str]:
        return {job["job_name"] for job in yaml.safe_load(path.read_text())["scrape_configs"]}

    here = jobs(K8S / "components" / "monitoring" / "prometheus.yml")
    assert {f"lineament-{name}" for name in ("api", "reconciler", *SERVICES)} <= here
    assert here <= jobs(OBSERVABILITY / "prometheus" / "prometheus.yml")


def test_prometheus_finds_targets_by_services_that_exist(scratch: Path) -> None:
    services = of_kind(rendered("scaled", scratch), "Service")
    path = K8S / "components" / "monitoring" / "prometheus.yml"
    for job in yaml.safe_load(path.read_text())["scrape_configs"]:
        for found in job.get("dns_sd_configs", []):
            for name in found["names"]:
                assert found["port"] in {p["port"] for p in services[name]["spec"]["ports"]}


def test_prometheus_tells_the_alertmanager_that_exists(scratch: Path) -> None:
    path = K8S / "components" / "monitoring" / "prometheus.yml"
    (told,) = yaml.safe_load(path.read_text())["alerting"]["alertmanagers"]
    (found,) = told["dns_sd_configs"]
    services = of_kind(rendered("cpu", scratch), "Service")
    ports = {p["port"] for name in found["names"] for p in services[name]["spec"]["ports"]}
    assert ports == {found["port"]}


def test_who_is_told_is_a_secret_that_may_be_missing(scratch: Path) -> None:
    (pod,) = (one for one in workloads(rendered("cpu", scratch)) if one.name == "alertmanager")
    mounts = {m["name"]: m["mountPath"] for m in pod.spec["containers"][0]["volumeMounts"]}
    (volume,) = (one for one in pod.spec["volumes"] if "projected" in one)
    text = (OBSERVABILITY / "alertmanager" / "alertmanager.yml").read_text()
    files = {Path(path) for path in re.findall(r"\burl_file: (\S+)", text)}
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "alert-receiver", "optional": True}}
    ]
    assert {str(path.parent) for path in files} == {mounts[volume["name"]]}
    documented = (K8S / "components" / "monitoring" / "kustomization.yaml").read_text()
    (keys,) = re.findall(r"^#   alert-receiver +(\S.*?)  ", documented, re.MULTILINE)
    assert {path.name for path in files} == set(keys.split(", "))


def test_monitors_give_the_same_jobs(scratch: Path) -> None:
    monitors = of_kind(rendered("own", scratch), "PodMonitor")
    assert monitors.keys() == {"api", "reconciler", *SERVICES}
    pods = {pod.name: pod for pod in workloads(rendered("own", scratch))}
    for name, monitor in monitors.items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert {p["name"] for p in pods[name].spec["containers"][0]["ports"]} == {endpoint["port"]}
        assert endpoint["honorLabels"] is True
        (job,) = endpoint["relabelings"]
        assert job == {"targetLabel": "job", "replacement": f"lineament-{name}"}


def test_scaling_asks_for_metrics_that_are_exported(scratch: Path) -> None:
    objects = rendered("scaled", scratch)
    exported = (OBSERVABILITY / "METRICS.md").read_text()
    deployments = of_kind(objects, "Deployment")
    scaled = of_kind(objects, "ScaledObject")
    assert scaled.keys() == set(SERVICES)
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"] == {"name": name}
        assert one["spec"]["minReplicaCount"] == 0
        assert "replicas" not in deployments[name]["spec"], "KEDA decides"
        (trigger,) = one["spec"]["triggers"]
        query = trigger["metadata"]["query"]
        assert set(re.findall(r'service="(\w+)"', query)) == {name}
        for metric in re.findall(r"lineament_\w+", query):
            assert f"`{metric}`" in exported, metric
        assert trigger["metadata"]["serverAddress"] == "http://prometheus.lineament.svc:9090"


def test_kueue_holds_workers_back_and_nothing_else(scratch: Path) -> None:
    objects = rendered("scaled", scratch)
    label = "kueue.x-k8s.io/queue-name"
    held = {
        name
        for name, one in of_kind(objects, "Deployment").items()
        if label in one["metadata"]["labels"]
    }
    assert held == set(SERVICES)
    assert "lineament" in of_kind(objects, "LocalQueue")


def test_the_training_job_starts_the_image_that_the_trainer_has(scratch: Path) -> None:
    objects = rendered("scaled", scratch)
    images = {pod.name: pod.spec["containers"][0]["image"] for pod in workloads(objects)}
    assert images["lineament-trainer"] == images["trainer"]
    job = yaml.safe_load((K8S / "components" / "kubeflow" / "trainjob.yaml").read_text())
    assert job["spec"]["runtimeRef"]["name"] in of_kind(objects, "TrainingRuntime")


def test_no_secret_of_an_installation_is_in_the_repository() -> None:
    """Only components/trial makes Secrets, and what it makes says what it is for."""
    for path in K8S.rglob("*.yaml"):
        text = path.read_text()
        assert not re.search(r"^kind: Secret$", text, re.MULTILINE), path
        if "secretGenerator" in text:
            assert path == K8S / "components" / "trial" / "kustomization.yaml"
            assert "for-trials-only" in text


def test_secrets_that_pods_name_are_made_or_documented(objects: list[Object]) -> None:
    parts = [K8S / "base", *(K8S / "components" / name for name in ("monitoring", "explain"))]
    text = "".join((part / "kustomization.yaml").read_text() for part in parts)
    documented = set(re.findall(r"^#   ([\w-]+) +\w+", text, re.MULTILINE))
    made = of_kind(objects, "Secret").keys()
    for pod in workloads(objects):
        for volume in pod.spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                assert source["secret"]["name"] in documented | made
