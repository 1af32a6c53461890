"""Settings of the language model: what is refused, without saying it, and what a key knows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.resolve.explainer import endpoint_digest, is_configured
from shared.settings import Settings, SettingsError

URL, MODEL = "http://host:8000/v1", "some-model"


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"explain_url": "host:8000", "explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_url": "ftp://host/v1", "explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_url": "http://u:pw@host/v1", "explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_url": "http://host/v1?k=pw", "explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_url": "http://ho st/v1", "explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_url": URL}, "LINEAMENT_EXPLAIN_MODEL"),
        ({"explain_model": MODEL}, "LINEAMENT_EXPLAIN_URL"),
        ({"explain_key": "two words"}, "LINEAMENT_EXPLAIN_KEY"),
        ({"explain_key": "schlüssel"}, "LINEAMENT_EXPLAIN_KEY"),
        ({"explain_label": "  "}, "LINEAMENT_EXPLAIN_LABEL"),
        ({"explain_concurrency": 0}, "LINEAMENT_EXPLAIN_CONCURRENCY"),
        ({"explain_timeout": 0}, "LINEAMENT_EXPLAIN_TIMEOUT"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_not_said(
    values: dict[str, object], variable: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings(**values)
    assert variable in str(error.value)
    for value in values.values():
        assert not str(value).strip() or len(str(value)) < 2 or str(value) not in str(error.value)


def test_a_key_from_a_file_of_secrets_loses_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "LINEAMENT_EXPLAIN_KEY").write_text("sk-from-a-file\n")
    monkeypatch.setenv("LINEAMENT_SECRETS", str(tmp_path))
    settings = Settings()
    assert settings.explain_key.get_secret_value() == "sk-from-a-file"
    assert "sk-from-a-file" not in repr(settings)


def test_the_digest_is_of_the_address_and_the_model_alone() -> None:
    one = Settings(explain_url=URL, explain_model=MODEL)
    assert endpoint_digest(one) == hashlib.sha256(f"{URL}\n{MODEL}".encode()).hexdigest()
    for same in ({"explain_key": "sk-1"}, {"explain_label": "x"}, {"explain_url": f"{URL}/"}):
        again = Settings(**({"explain_url": URL, "explain_model": MODEL} | same))
        assert endpoint_digest(again) == endpoint_digest(one)
    other = Settings(explain_url=URL, explain_model="another")
    assert endpoint_digest(other) != endpoint_digest(one)


def test_a_language_model_is_there_when_both_settings_are() -> None:
    assert is_configured(Settings(explain_url=URL, explain_model=MODEL))
    assert not is_configured(Settings())
