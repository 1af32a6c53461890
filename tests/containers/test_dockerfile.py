"""What the Dockerfile promises, read from the file; tests/containers/compose_test.py builds it."""

from __future__ import annotations

import ast
import fnmatch
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.stages.kinds import SERVICES
from tests.containers.files import OWN, ROOT, ancestry, images, stages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def value(stage: str, instruction: str) -> str:
    """The last instruction of that name, which is the one that counts."""
    lines = [line for line in ancestry(stage) if line.startswith(f"{instruction} ")]
    assert lines, f"{stage} has no {instruction}"
    return lines[-1].removeprefix(instruction).strip()


def copied(stage: str) -> set[str]:
    """What a stage has of this checkout."""
    lines = [line.split()[1:-1] for line in ancestry(stage) if line.startswith("COPY ")]
    return {name for names in lines if not names[0].startswith("--from") for name in names}


def test_there_is_an_image_for_each_process() -> None:
    assert set(OWN) <= set(stages())
    assert set(SERVICES) < set(OWN)


@pytest.mark.parametrize("stage", OWN)
def test_an_image_runs_as_a_number_that_is_not_root(stage: str) -> None:
    user, group = value(stage, "USER").split(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("stage", OWN)
def test_an_image_starts_and_checks_its_health_without_a_shell(stage: str) -> None:
    command = json.loads(value(stage, "ENTRYPOINT"))
    assert command[:2] == ["python", "-m"]
    health = value(stage, "HEALTHCHECK")
    program = json.loads(health[health.index("[") :])
    assert program[:2] == ["python", "-c"]
    ast.parse(program[2])


@pytest.mark.parametrize("stage", OWN)
def test_an_image_says_what_it_is(stage: str) -> None:
    labels = value(stage, "LABEL")
    assert f'org.opencontainers.image.title="lineament-{stage}"' in labels
    for name in ("description", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
    assert f"ARG VERSION={PROJECT['version']}" in stages()[stage]


@pytest.mark.parametrize("stage", ["api", "reconciler"])
def test_no_torch_comes_into_the_images_of_api_and_reconciler(stage: str) -> None:
    lines = "\n".join(ancestry(stage))
    assert "worker-packages" not in lines
    assert not {"services"} & {name.split("/")[0] for name in copied(stage)}
    before = list(stages()).index(stage)
    installs = [one for one, lines in stages().items() if "torch==" in "\n".join(lines)]
    assert installs == ["worker-packages"]
    # A builder without BuildKit builds every stage above the one that is asked for.
    assert list(stages()).index("worker-packages") > before


@pytest.mark.parametrize("service", SERVICES)
def test_a_worker_has_its_own_service_only_over_the_layer_that_all_share(service: str) -> None:
    assert stages()[service][0] == f"FROM worker AS {service}"
    own = {name for name in copied(service) if name.startswith("services/")}
    assert own == {"services/__init__.py", f"services/{service}"}
    assert json.loads(value(service, "CMD")) == [f"--queues={service}"]
    assert not any("pip" in line for line in stages()[service])


@pytest.mark.parametrize("name", ["shared", "api", "services"])
def test_every_package_lies_in_some_image(name: str) -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    in_images = set().union(*(copied(stage) for stage in OWN))
    for package in packages:
        if package.split(".")[0] == name and package != "services":
            path = package.replace(".", "/")
            assert any(path == one or path.startswith(f"{one}/") for one in in_images), package


def test_the_base_image_is_the_one_of_images_env() -> None:
    first = next(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG ")
    )
    assert first == f"ARG PYTHON_IMAGE={images()['PYTHON_IMAGE']}"
    python = images()["PYTHON_IMAGE"].rpartition(":")[2].split("-")[0]
    assert tuple(map(int, python.split(".")))[:2] >= (3, 11)


def test_nothing_is_used_that_needs_a_newer_builder() -> None:
    """The builder of Debian's docker.io does without."""
    text = (ROOT / "Dockerfile").read_text()
    for word in ("<<", "--link", "--mount", "# syntax"):
        assert word not in text


def ignored(path: str) -> bool:
    """What .dockerignore says of a path: the last line that matches it or a folder above it."""
    answer = False
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        plain = pattern.removeprefix("**/")
        names = [
            one
            for path in above
            for one in ({path, Path(path).name} if plain != pattern else {path})
        ]
        if any(
            fnmatch.fnmatchcase(name, plain) and ("/" in plain) <= ("/" in name) for name in names
        ):
            answer = not line.startswith("!")
    return answer


@pytest.mark.parametrize(
    "path",
    [
        ".venv/bin/python",
        ".git/config",
        ".lineament/store/x",
        "report/report.html",
        ".env",
        "tests/conftest.py",
        "bench/merge.py",
        "shared/__pycache__/keys.cpython-311.pyc",
        "my-secrets",
    ],
)
def test_the_build_context_leaves_out_what_no_image_needs(path: str) -> None:
    assert ignored(path)


def test_the_build_context_has_all_that_the_dockerfile_copies() -> None:
    for stage in stages():
        for name in copied(stage):
            assert (ROOT / name).exists()
            assert not ignored(name), name


def test_hadolint_has_nothing_to_say() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
