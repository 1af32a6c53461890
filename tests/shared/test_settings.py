"""The README's table of settings is the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings import Settings

README = Path(__file__).parents[2] / "README.md"


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
