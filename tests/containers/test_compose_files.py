"""The compose files, as compose itself reads them."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from shared.api_keys import parse_keys
from shared.settings import Settings
from shared.stages.kinds import SERVICES
from tests.containers.files import OWN, PUBLIC, ROOT, compose_command, images, rendered

SETTINGS = {f"LINEAMENT_{name.upper()}" for name in Settings.model_fields}
ALL = ("gpu", "minio", "silo", "versitygw")
FILES = [*ROOT.glob("*compose*.yml"), *(ROOT / "compose").glob("*.yml")]

pytestmark = pytest.mark.skipif(compose_command() is None, reason="docker-compose is not installed")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service there is, with the alternatives and those for GPUs."""
    found: dict[str, Any] = rendered("compose.s3-alternatives.yml", profiles=ALL)["services"]
    return found


def test_the_quick_start_needs_no_variable_and_no_profile() -> None:
    usual = rendered()["services"]
    assert set(OWN) <= set(usual)
    assert {"redis", "minio", "prometheus", "alertmanager", "grafana"} <= set(usual)
    assert not any("gpu" in name for name in usual)
    assert usual["api"]["ports"][0]["published"] == "8000"


def test_every_image_is_one_of_images_env(services: dict[str, Any]) -> None:
    tag = images()["LINEAMENT_TAG"]
    for name, service in services.items():
        own = name.removesuffix("-gpu")
        suffix = "-cuda" if name.endswith("-gpu") else ""
        if own in OWN:
            assert service["image"] == f"ghcr.io/lineament/lineament-{own}:{tag}{suffix}"
            assert service["build"]["target"] == own
            assert service["build"]["args"]["PYTHON_IMAGE"] == images()["PYTHON_IMAGE"]
            assert ("TORCH_OPTIONS" in service["build"]["args"]) == bool(suffix)
        else:
            assert service["image"] in images().values()


def test_tags_name_a_release() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert images().pop("LINEAMENT_TAG") == version
    for name, image in images().items():
        if name != "LINEAMENT_TAG":
            tag = image.partition("@")[0].rpartition(":")[2]
            assert tag != "latest"
            assert re.search(r"\d+\.\d+\.\d+|\d{4}-\d\d-\d\d", tag), image
            assert "/" in image.partition("/")[2], f"{image} does not say which registry"


def test_no_tag_is_written_outside_of_images_env() -> None:
    for path in FILES:
        for line in path.read_text().splitlines():
            if line.strip().startswith("image:"):
                assert re.search(r"image: (ghcr\.io/lineament/\S+:)?\$\{\w+\}(-cuda)?$", line), line


def test_every_service_is_limited_and_comes_back(services: dict[str, Any]) -> None:
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert int(limits["memory"]) > 0, name
        assert int(limits["pids"]) > 0, name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_own_services_write_to_volumes_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name.removesuffix("-gpu") in OWN:
            assert service["read_only"], name
            assert service["user"] == "10001:10001", name
            assert {"/data"} <= {volume["target"] for volume in service["volumes"]}, name


def test_every_service_has_a_health_check_or_a_reason(services: dict[str, Any]) -> None:
    """Those of the own images lie in the Dockerfile (test_dockerfile.py)."""
    reasons = {}
    for path in (ROOT / "compose").glob("*.yml"):
        for name, service in (yaml.safe_load(path.read_text()).get("services") or {}).items():
            reasons[name] = service.get("x-no-healthcheck")
    for name, service in services.items():
        if name.removesuffix("-gpu") not in OWN:
            assert ("healthcheck" in service) != bool(reasons.get(name)), name
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][0] == "CMD", f"{name} needs a shell"


def test_own_services_start_when_what_they_need_is_healthy(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name.removesuffix("-gpu") in OWN:
            assert service["depends_on"]["redis"]["condition"] == "service_healthy", name
            assert service["depends_on"]["minio"]["condition"] == "service_healthy", name


def test_every_setting_of_a_container_is_one_that_exists(services: dict[str, Any]) -> None:
    for file in ("compose.public.yml", "compose.s3-alternatives.yml"):
        for name, service in rendered(file, profiles=("gpu",), variables=PUBLIC)[
            "services"
        ].items():
            given = {key for key in service.get("environment", {}) if key.startswith("LINEAMENT_")}
            assert given <= SETTINGS, name
            assert given or name not in OWN
    dockerfile = set(re.findall(r"\b(LINEAMENT_[A-Z_0-9]+)=", (ROOT / "Dockerfile").read_text()))
    assert {"LINEAMENT_DATA", "LINEAMENT_METRICS_PORT"} <= dockerfile <= SETTINGS


def test_containers_are_configured_as_the_settings_say() -> None:
    """The values themselves are accepted, the API's too when it is open to others."""
    for file, variables in (("docker-compose.yml", {}), ("compose.public.yml", PUBLIC)):
        for name, service in rendered(file, variables=variables)["services"].items():
            if name in OWN:
                values = {
                    key.removeprefix("LINEAMENT_").lower(): value
                    for key, value in service["environment"].items()
                    if key.startswith("LINEAMENT_")
                }
                assert Settings(**values).s3_bucket == "lineament"


def test_only_this_machine_reaches_the_ports(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
    assert not any(services[name].get("ports") for name in ("redis", "minio"))


def test_redis_and_the_s3_server_reach_no_other_machine() -> None:
    found = rendered("compose.s3-alternatives.yml", profiles=ALL)
    assert found["networks"]["backing"]["internal"]
    for name in ("redis", "minio", "silo", "versitygw"):
        assert list(found["services"][name]["networks"]) == ["backing"]


def test_alertmanager_reads_its_receivers_where_its_configuration_says() -> None:
    place = ROOT / "observability" / "alertmanager"
    files = re.findall(r"_file: (\S+)", (place / "alertmanager.yml").read_text())
    for own in ("", "/etc/receivers"):
        variables = {"ALERT_RECEIVERS": own} if own else {}
        volumes = rendered(variables=variables)["services"]["alertmanager"]["volumes"]
        mounted = {volume["target"]: volume for volume in volumes}
        assert mounted["/etc/alertmanager"]["source"] == str(place)
        receivers = mounted["/run/secrets/alert-receiver"]
        assert receivers["source"] == (own or str(place / "receivers"))
        assert all(path.startswith(receivers["target"] + "/") for path in files)
        assert mounted["/etc/alertmanager"]["read_only"]
        assert receivers["read_only"]


def test_urls_of_receivers_are_no_part_of_the_project() -> None:
    """The directory is there, so that the engine does not make it as root."""
    place = ROOT / "observability" / "alertmanager" / "receivers"
    ignored = (place / ".gitignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!.gitignore"]


def test_prometheus_finds_alertmanager_in_a_network_of_both() -> None:
    path = ROOT / "observability" / "prometheus" / "prometheus.yml"
    (found,) = yaml.safe_load(path.read_text())["alerting"]["alertmanagers"]
    (names,) = found["dns_sd_configs"]
    assert names["names"] == ["alertmanager"]
    services = rendered()["services"]
    assert services["alertmanager"]["ports"][0]["target"] == names["port"]
    # The other network is closed: nobody could be told through it.
    assert services["alertmanager"]["networks"].keys() == {"default"}
    assert "default" in services["prometheus"]["networks"]


def test_redis_keeps_what_it_was_told_and_asks_for_a_password() -> None:
    command = " ".join(rendered()["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--requirepass" in command


def test_opening_it_to_others_asks_for_keys_and_own_passwords() -> None:
    for name in PUBLIC:
        fewer = {key: value for key, value in PUBLIC.items() if key != name}
        with pytest.raises(AssertionError, match=name):
            rendered("compose.public.yml", variables=fewer)
    found = rendered("compose.public.yml", variables=PUBLIC)["services"]
    environment = found["api"]["environment"]
    assert environment["LINEAMENT_OPEN"] == "false"
    assert parse_keys(environment["LINEAMENT_API_KEYS"])
    assert [port["host_ip"] for port in found["api"]["ports"]] == ["0.0.0.0"]
    assert "for-this-machine-only" not in json.dumps(found)


def test_another_s3_server_takes_the_place_of_minio() -> None:
    for one in ("silo", "versitygw"):
        found = rendered("compose.s3-alternatives.yml", profiles=(one,))["services"]
        assert "minio" not in found
        assert found[one]["networks"]["backing"]["aliases"] == ["minio"]
    elsewhere = rendered(
        "compose.s3-alternatives.yml", variables={"S3_ENDPOINT": "https://s3.test"}
    )
    assert not {"minio", "silo", "versitygw"} & set(elsewhere["services"])
    assert elsewhere["services"]["api"]["environment"]["LINEAMENT_S3_ENDPOINT"] == "https://s3.test"


def test_gpu_workers_come_with_their_profile_and_may_be_alone() -> None:
    found = rendered(profiles=("gpu",), variables={"CPU_WORKERS": "0"})["services"]
    for name in SERVICES:
        assert found[name]["deploy"]["replicas"] == 0
        gpu = found[f"{name}-gpu"]
        device = gpu["deploy"]["resources"]["reservations"]["devices"][0]
        assert "gpu" in device["capabilities"]
        assert gpu["environment"]["LINEAMENT_DEVICE"] == "cuda"


def test_a_worker_is_given_longer_than_a_stage_to_leave() -> None:
    for name in SERVICES:
        period = rendered()["services"][name]["stop_grace_period"]
        minutes, seconds = re.fullmatch(r"(\d+)m(\d+)s", period).groups()  # type: ignore[union-attr]
        assert 60 * int(minutes) + int(seconds) > 2 * Settings().grace


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    assert all(line.startswith("#") or not line for line in text.splitlines()), "defaults do"
    named = dict(re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))
    used: dict[str, str | None] = {}
    for path in FILES:
        for name, default in re.findall(r"\$\{([A-Z0-9_]+)(?::-([^}]*))?", path.read_text()):
            used[name] = used.get(name) or default
    ours = set(used) - (set(images()) - {"LINEAMENT_TAG"})
    # GPU workers are asked for by compose's own variable.
    assert ours == set(named) - {"COMPOSE_PROFILES"}
    examples = {"API_KEYS", "TRUSTED_HOSTS", "COMPOSE_PROFILES", "CPU_WORKERS", "LINEAMENT_TAG"}
    for name in set(named) - examples:
        assert named[name] == used[name], name
