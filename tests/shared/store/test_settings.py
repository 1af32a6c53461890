"""Settings of the object store, secrets from files, and the store that they open."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError
from shared.store import LocalStore
from shared.store.address import Address
from shared.store.s3.s3 import S3Store

S3 = {"s3_endpoint": "minio:9000", "s3_access_key": "key", "s3_secret_key": "word"}


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("LINEAMENT_SECRETS", str(folder))
    return folder


def test_without_an_endpoint_the_store_is_a_directory(tmp_path: Path) -> None:
    assert isinstance(Settings(data=tmp_path).open_store(), LocalStore)


def test_with_an_endpoint_the_store_is_a_bucket_and_no_proof_asks_nobody() -> None:
    store = Settings(**S3, s3_public_endpoint="https://files.example.org").open_store(prove=False)
    assert isinstance(store, S3Store)
    url = store.presign("a/b", 60)
    assert url is not None
    assert url.startswith("https://files.example.org/lineament/a/b?")


def test_a_start_without_s3_does_not_load_its_client() -> None:
    code = (
        "import sys; from shared.settings import Settings; Settings().open_store; "
        "sys.exit('minio' in sys.modules or 'urllib3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["lineament_s3_secret_key", "LINEAMENT_S3_SECRET_KEY"])
def test_secrets_come_from_files_in_either_case(secrets: Path, name: str) -> None:
    (secrets / name).write_text("from a file\n")
    assert Settings().s3_secret_key.get_secret_value() == "from a file"


def test_the_environment_comes_before_the_files(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "lineament_redis_url").write_text("redis://file")
    assert Settings().redis_url == "redis://file"
    monkeypatch.setenv("LINEAMENT_REDIS_URL", "redis://environment")
    assert Settings().redis_url == "redis://environment"
    assert Settings(redis_url="redis://argument").redis_url == "redis://argument"


def test_links_of_a_kubernetes_secret_are_followed(secrets: Path) -> None:
    (secrets / "..2026").mkdir()
    (secrets / "..2026" / "lineament_s3_secret_key").write_text("linked")
    (secrets / "..data").symlink_to("..2026")
    (secrets / "lineament_s3_secret_key").symlink_to("..data/lineament_s3_secret_key")
    assert Settings().s3_secret_key.get_secret_value() == "linked"


def test_a_secrets_directory_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAMENT_SECRETS", "/nowhere")
    with pytest.raises(SettingsError, match=r"^LINEAMENT_SECRETS: is not a directory$"):
        Settings()


def test_settings_are_frozen_and_travel_and_never_show_the_secret() -> None:
    settings = Settings(**S3)
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.s3_bucket = "other"  # type: ignore[misc]
    assert "word" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"lease": -1}, "LINEAMENT_LEASE: Input should be greater than 0"),
        ({"s3_endpoint": "http://a/b"}, "LINEAMENT_S3_ENDPOINT: must be host:port or"),
        ({"s3_endpoint": "ftp://a"}, "LINEAMENT_S3_ENDPOINT: must be host:port or"),
        ({"s3_public_endpoint": "a:port"}, "LINEAMENT_S3_PUBLIC_ENDPOINT: must be host:port or"),
        ({"s3_bucket": "Big_Bucket"}, "LINEAMENT_S3_BUCKET: must be 3 to 63 lower-case"),
        ({"s3_prefix": "../up"}, "LINEAMENT_S3_PREFIX: not an object name"),
        ({"s3_endpoint": "minio:9000"}, "LINEAMENT_S3_ENDPOINT: needs LINEAMENT_S3_ACCESS_KEY"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    wrong: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingsError) as failure:
        Settings(**wrong)  # type: ignore[arg-type]
    assert str(failure.value).startswith(sentence)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("minio:9000", Address("minio:9000", secure=True)),
        ("http://minio:9000/", Address("minio:9000", secure=False)),
        ("https://s3.example.org", Address("s3.example.org", secure=True)),
        ("[::1]:9000", Address("[::1]:9000", secure=True)),
    ],
)
def test_an_endpoint_is_a_host_or_a_url(text: str, address: Address) -> None:
    assert Address.parse(text, secure=True) == address
