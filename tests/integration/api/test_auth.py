"""API keys, scopes, and who is answered without any."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from redis import Redis
from typer.testing import CliRunner

from api.cli.main import app as command_line
from api.security.startup import AddressError, check_address
from api.server import server_config
from shared.api_keys import ApiKey, key_hash, new_key, parse_keys
from shared.settings import Settings, SettingsError
from shared.telemetry.logs import configure_logging
from tests.support.api.client import local_client

READER, SUBMITTER, ADMIN = new_key(), new_key(), new_key()
KEYS = (
    ApiKey(name="reader", sha256=key_hash(READER), scopes=frozenset({"read"})),
    ApiKey(name="submitter", sha256=key_hash(SUBMITTER), scopes=frozenset({"submit"})),
    ApiKey(name="admin", sha256=key_hash(ADMIN), scopes=frozenset({"admin"})),
)
HEALTH = {"/healthz", "/readyz"}

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make(redis_url: str, redis: Redis, tmp_path: Path) -> MakeSettings:
    return lambda **values: Settings(data=tmp_path, redis_url=redis_url, **values)


@pytest.fixture
def keyed(make: MakeSettings) -> Iterator[TestClient]:
    """A server with the three keys, asked from another machine."""
    with local_client(make(api_keys=KEYS), client=("192.0.2.7", 50000)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def operations(client: TestClient) -> list[tuple[str, str]]:
    """Every documented operation, with names in place of its parameters."""
    document = client.get("/openapi.json").json()
    return [
        (method.upper(), "/".join("x" if part[:1] == "{" else part for part in path.split("/")))
        for path, methods in document["paths"].items()
        for method in methods
    ]


PAGES = [("GET", "/"), ("GET", "/experiments/x"), ("GET", "/experiments/x/report/report.html")]


def test_every_operation_and_page_but_health_needs_a_key(keyed: TestClient) -> None:
    answers = {
        (method, path): keyed.request(method, path).status_code
        for method, path in [*operations(keyed), *PAGES]
    }

    assert len(answers) > 12
    assert {status for (_, path), status in answers.items() if path not in HEALTH} == {401}
    assert keyed.get("/healthz").status_code == keyed.get("/readyz").status_code == 200


def test_every_operation_that_changes_something_is_closed_to_a_reader(keyed: TestClient) -> None:
    for method, path in operations(keyed):
        status = keyed.request(method, path, headers=bearer(READER)).status_code
        changes = method not in ("GET", "HEAD")
        assert (status == 403) == changes, f"{method} {path}: {status}"


@pytest.mark.parametrize("key", [READER, SUBMITTER, ADMIN])
def test_a_key_works_as_bearer_token_and_as_password(keyed: TestClient, key: str) -> None:
    assert keyed.get("/v1/experiments", headers=bearer(key)).status_code == 200
    assert keyed.get("/v1/experiments", headers={"authorization": f"bearer {key}"}).is_success
    assert keyed.get("/", auth=("anybody", key)).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {READER}x", f"Bearer {READER[:-1]}",
     f"Token {READER}", READER, "Basic", "Basic !!", "Basic bm9jb2xvbg==", "Basic //79",
     f"Bearer {key_hash(READER)}", "Bearer \xff\xfe"],
)  # fmt: skip
def test_anything_but_a_configured_key_is_asked_for_one(keyed: TestClient, header: str) -> None:
    answer = keyed.get("/v1/experiments", headers=[(b"authorization", header.encode("latin-1"))])

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    challenges = answer.headers.get_list("www-authenticate")
    assert [challenge.split()[0] for challenge in challenges] == ["Bearer", "Basic"]


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "token"])
def test_a_key_in_the_query_is_not_accepted(keyed: TestClient, name: str) -> None:
    assert keyed.get("/v1/experiments", params={name: ADMIN}).status_code == 401


def test_a_refusal_names_the_missing_scope(keyed: TestClient) -> None:
    answer = keyed.post("/v1/experiments/x/cancel", headers=bearer(READER))
    assert answer.status_code == 403
    assert answer.json()["detail"] == "the key reader does not have the scope 'submit'"


def test_without_keys_only_this_machine_is_answered(make: MakeSettings) -> None:
    for options in (
        {"client": ("192.0.2.7", 50000)},
        {"base_url": "http://192.0.2.1:8000"},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
    ):
        with local_client(make(trusted_hosts="*"), **options) as client:
            answer = client.get("/v1/experiments")
        assert answer.status_code == 403, options
        assert "no API key is configured" in answer.json()["detail"]
    with local_client(make()) as client:
        assert client.get("/v1/experiments").status_code == 200


def test_an_address_of_other_machines_is_served_with_keys_only(make: MakeSettings) -> None:
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_address(make(), host)
    for host in ("0.0.0.0", "::", "192.0.2.1", ""):
        check_address(make(api_keys=KEYS), host)
        with pytest.raises(AddressError, match="LINEAMENT_API_KEYS"):
            check_address(make(), host)


def test_an_open_installation_answers_everybody_by_its_own_name_only(make: MakeSettings) -> None:
    settings = make(open=True)
    check_address(settings, "0.0.0.0")
    ends = {"client": ("172.18.0.1", 50000), "base_url": "http://localhost:8000"}
    with local_client(settings, **ends) as client:
        assert client.get("/v1/experiments").status_code == 200
        assert client.get("/metrics").status_code == 200
        foreign = client.get("/v1/experiments", headers={"Host": "attacker.example"})
        assert foreign.status_code == 400


def test_keys_are_asked_for_in_an_open_installation_too(make: MakeSettings) -> None:
    ends = {"client": ("172.18.0.1", 50000), "base_url": "http://localhost:8000"}
    with local_client(make(open=True, api_keys=KEYS), **ends) as client:
        assert client.get("/v1/experiments").status_code == 401


def test_serve_refuses_an_open_address_before_it_starts_anything(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command_line, ["serve", "--data", str(tmp_path / "data"), "--host", "0.0.0.0"]
    )
    assert result.exit_code == 2
    assert "LINEAMENT_API_KEYS" in result.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:x"])
def test_an_untrusted_host_is_a_problem_document(make: MakeSettings, host: str) -> None:
    with local_client(make()) as client:
        answer = client.get("/v1/experiments", headers={"Host": host})
        assert client.get("/healthz", headers={"Host": "10.1.2.3:8000"}).is_success
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 400


def test_configured_hosts_are_trusted(make: MakeSettings) -> None:
    with local_client(make(trusted_hosts="a.example, *.b.example")) as client:
        for host in ("a.example", "a.example:443", "c.b.example"):
            assert client.get("/v1/experiments", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
    ],
)
def test_a_page_of_another_origin_cannot_change_anything(
    make: MakeSettings, headers: dict[str, str]
) -> None:
    for settings, key in ((make(), {}), (make(api_keys=KEYS), bearer(SUBMITTER))):
        with local_client(settings) as client:
            answer = client.post("/v1/experiments/x/cancel", headers=headers | key)
            assert client.get("/v1/experiments", headers=headers | key).status_code == 200
        assert answer.status_code == 403
        assert "another site" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:8000"}],
)
def test_our_own_pages_and_programs_can(make: MakeSettings, headers: dict[str, str]) -> None:
    with local_client(make()) as client:
        assert client.post("/v1/experiments/x/cancel", headers=headers).status_code == 404


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "sha256": "0" * 64, "scopes": ["read"], **changes}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("{", "JSON"),
        ("{}", "the list: Input should be a valid array"),
        (json.dumps([entry(scopes=["write"])]), "0.scopes.0: Input should be 'read', 'submit'"),
        (json.dumps([entry(scopes=[])]), "0.scopes"),
        (json.dumps([entry(name="A B")]), "0.name: must be 1 to 64 lower-case"),
        (json.dumps([entry(rate="5")]), "0.rate: must be a number for each second"),
        (json.dumps([entry(limit=1)]), "0.limit: Extra inputs"),
        (json.dumps([entry(), entry(sha256="1" * 64)]), "name: two keys have a"),
        (json.dumps([entry(), entry(name="b")]), "sha256: two keys have 0000"),
        (json.dumps([entry(sha256=READER)]), "0.sha256: must be the 64 digits"),
    ],
)
def test_wrong_keys_are_one_sentence_without_what_was_given(
    monkeypatch: pytest.MonkeyPatch, keys: str, says: str
) -> None:
    monkeypatch.setenv("LINEAMENT_API_KEYS", keys)
    with pytest.raises(SettingsError) as error:
        Settings()
    assert str(error.value).startswith("LINEAMENT_API_KEYS: ")
    assert says in str(error.value)
    assert READER not in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_come_from_a_secrets_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lineament_api_keys").write_text(json.dumps([entry()]) + "\n")
    monkeypatch.setenv("LINEAMENT_SECRETS", str(tmp_path))
    assert [key.name for key in Settings().api_keys] == ["a"]


def test_a_new_key_works_and_only_its_hash_is_configured(make: MakeSettings) -> None:
    result = CliRunner().invoke(command_line, ["key", "ci", "--scope", "read"])
    key, configured = result.stdout.splitlines()

    assert result.exit_code == 0
    assert key not in configured
    with local_client(make(api_keys=parse_keys(f"[{configured}]"))) as client:
        assert client.get("/v1/experiments", headers=bearer(key)).status_code == 200


def test_a_key_for_a_scope_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(command_line, ["key", "ci", "--scope", "write"])
    assert result.exit_code == 2
    assert "scopes" in result.output


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """The log as a server process writes it, from the most talkative level on."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("httpx2"), "disabled", True)  # the client's own log
    configure_logging(logging.DEBUG)
    yield written.getvalue
    structlog.reset_defaults()


def test_the_log_never_has_a_key(
    make: MakeSettings, log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a server whose store fails in a way nobody foresaw, and one whose Redis is away
    broken = make(api_keys=KEYS)
    away = make(api_keys=KEYS).model_copy(update={"redis_url": "unix:///nonexistent"})
    wrong = new_key()

    # when keys arrive in every place that a key may be sent in, on every kind of error
    for settings in (broken, away):
        with local_client(settings) as client:
            if settings is broken:
                store = client.app.state.backend.store  # type: ignore[attr-defined]
                monkeypatch.setattr(store, "get", _raise_with(ADMIN))
            for key in (ADMIN, READER, wrong):
                for send in (
                    {"headers": bearer(key)},
                    {"auth": ("x", key)},
                    {"params": {"k": key}},
                ):
                    for method, path in (
                        ("GET", "/v1/experiments"),
                        ("GET", f"/v1/experiments/{key}"),
                        ("GET", "/v1/experiments/x"),
                        ("GET", "/readyz"),
                        ("POST", "/v1/experiments"),
                        ("DELETE", "/v1/schema"),
                        ("PUT", "/v1/corpora/c"),
                        ("BREW", "/v1/experiments"),
                    ):
                        client.request(method, path, **send)

    # then the log tells of them without a key
    text = log()
    assert "request failed" in text
    assert "does not answer" in text
    assert all(json.loads(line)["level"] for line in text.splitlines())
    for key in (ADMIN, READER, wrong):
        assert key not in text
        assert key_hash(key) not in text


def _raise_with(key: str) -> Callable[..., Any]:
    def get(*_: Any) -> Any:
        raise RuntimeError(f"a library's error with {key} in it")

    return get


def test_a_server_process_writes_no_access_log(make: MakeSettings) -> None:
    config = server_config(make(), "127.0.0.1", 0, None)
    assert not config.access_log
    assert not config.proxy_headers
