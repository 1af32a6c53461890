"""The README's table of settings is the settings; only entry points read them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
# What a user starts: the processes, and the commands of the command line.
ENTRY_POINTS = {
    "api/server.py",
    "api/cli/garbage.py",
    "api/cli/main.py",
    "api/cli/terminal.py",
    "shared/experiments/reconciler.py",
    "shared/worker/app.py",
    "shared/worker/child.py",
}


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    row = f"| `LINEAMENT_{name.upper()}` | `{field.default}` | {field.description} |"
    assert row in README.read_text()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAMENT_LEASE", "3.5")
    monkeypatch.setenv("LINEAMENT_DEVICE", "cpu")
    assert Settings().lease == 3.5
    assert Settings().device == "cpu"


def test_settings_are_read_by_entry_points_alone() -> None:
    readers = set()
    for top in ("api", "services", "shared"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Settings":
                    readers.add(path.relative_to(ROOT).as_posix())
    assert readers == ENTRY_POINTS


def test_no_module_reads_the_environment_when_it_is_imported() -> None:
    script = (
        "import pkgutil, api, services, shared\n"
        "for package in (api, services, shared):\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            __import__(module.name)\n"
        "from shared.settings import Settings, SettingsError\n"
        "try:\n"
        "    Settings()\n"
        "except SettingsError as error:\n"
        "    print(error)\n"
    )
    wrong = {**os.environ, "LINEAMENT_LEASE": "soon"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=wrong, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "LINEAMENT_LEASE" in ended.stdout  # these settings are refused by whoever reads them
