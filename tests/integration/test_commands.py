"""The commands over a running server, and a client that lives through its restart."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from redis import Redis
from rich.console import Console
from typer.testing import CliRunner

from api.cli import client as client_module
from api.cli.client import Client, Refused
from api.cli.follow import Watch
from api.cli.main import app
from api.cli.patience import Unreachable
from api.cli.sse import Event, read_events
from shared.settings import Settings
from tests.support.api.rest import SPEC, World, changed, serving


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, World]]:
    with serving(settings) as (url, served_app):
        yield url, World(served_app.state.backend)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC))
    return path


def lineament(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def submit(url: str, spec: Path) -> str:
    done = lineament("submit", spec, "--server", url)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_submit_prints_the_id_and_the_others_take_it(served: tuple[str, World], spec: Path) -> None:
    url, world = served
    number = submit(url, spec)
    world.finish(number, world.keys(number)[0])

    listed = json.loads(lineament("list", "--server", url, "--json").stdout)
    shown = json.loads(lineament("status", number, "--server", url, "--json").stdout)
    cancelled = lineament("cancel", number, "--server", url)
    tried = lineament("retry", number, "--server", url)

    assert [one["id"] for one in listed] == [number]
    assert sum(one["state"] == "done" for one in shown["stages"]) == 1
    assert cancelled.stdout == f"{number} is cancelled\n"
    assert tried.stdout == f"{number} is running\n"
    assert number in lineament("list", "--server", url).stdout
    assert "train base" in lineament("status", number, "--server", url).stdout


def test_list_takes_filters_and_goes_over_pages(served: tuple[str, World], tmp_path: Path) -> None:
    url, _ = served
    client = Client(url)
    for name in ("one", "two", "three"):
        client.submit(json.dumps(changed(name=name)).encode())
    client_module_page, _ = client.experiments(2)

    assert [one["name"] for one in client_module_page] == ["three", "two"]
    found = lineament("list", "--server", url, "--name", "o", "--state", "running", "--json")
    assert [one["name"] for one in json.loads(found.stdout)] == ["two", "one"]
    wrong = lineament("list", "--server", url, "--state", "asleep")
    assert wrong.exit_code == 2


def test_logs_finds_a_stage_by_its_title_or_the_beginning_of_its_key(
    served: tuple[str, World], spec: Path
) -> None:
    url, world = served
    number = submit(url, spec)
    key = world.keys(number)[0]
    world.start(key, "a1")
    world.end(key, "a1", "crashed", b"one\ntwo\n")
    title = Client(url).stages(number)[0]["title"]

    by_key = lineament("logs", number, key[:10], "--server", url, "--follow")
    by_title = lineament("logs", number, title, "--server", url, "--tail", "1")
    unknown = lineament("logs", number, "nothing", "--server", url)

    assert by_key.stdout == "one\ntwo\n"
    assert by_title.stdout == "two\n"
    assert unknown.exit_code == 2
    assert "there is no nothing" in unknown.stderr


def test_what_the_server_refuses_is_a_sentence_and_code_2(served: tuple[str, World]) -> None:
    url, _ = served
    done = lineament("status", "none", "--server", url)
    assert done.exit_code == 2
    assert "none" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("server", "code", "says"),
    [
        (["--server", "http://127.0.0.1:9"], 1, "does not answer"),
        (["--server", "127.0.0.1"], 2, "--server: must be"),
        ([], 2, "no server runs over"),
    ],
)
def test_without_a_server_commands_say_so_at_once(
    tmp_path: Path, server: list[str], code: int, says: str
) -> None:
    done = lineament("list", "--data", tmp_path, *server)
    assert done.exit_code == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_watch_goes_on_when_the_server_is_restarted_in_the_middle(
    settings: Settings, redis: Redis
) -> None:
    said: list[str] = []
    screen = io.StringIO()
    ended: list[str] = []
    with serving(settings) as (url, served_app):
        client = Client(url, said.append)
        number = client.submit(json.dumps(SPEC).encode())["id"]
        keys = World(served_app.state.backend).keys(number)
        watch = Watch(client, Console(file=screen, width=200))
        watcher = threading.Thread(target=lambda: ended.append(watch.follow(number)))
        watcher.start()
        World.wait(1.5)
    port = int(url.rpartition(":")[2])
    World.wait(1.0)
    with serving(settings, port) as (_, served_app):
        world = World(served_app.state.backend)
        world.finish(number, *keys[:2])
        World.wait(1.5)
        world.finish(number)
        watcher.join()
        titles = [one["title"] for one in Client(url).stages(number)]

    assert ended == ["complete"]
    assert said == [f"{url} does not answer; trying for 60 s"]
    for title in titles:
        assert screen.getvalue().count(f"done {title} in") == 1


def test_a_watch_ends_with_a_sentence_when_the_server_stays_away(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PATIENCE", 1.0)
    failed: list[BaseException] = []

    def watch(client: Client, number: str) -> None:
        try:
            Watch(client, Console(file=io.StringIO())).follow(number)
        except Unreachable as error:
            failed.append(error)

    with serving(settings) as (url, _):
        client = Client(url)
        number = client.submit(json.dumps(SPEC).encode())["id"]
        watcher = threading.Thread(target=watch, args=(client, number))
        watcher.start()
        World.wait(1.0)
    watcher.join()
    assert "does not answer" in str(failed[0])


def test_a_watch_of_a_deleted_experiment_is_refused(served: tuple[str, World], spec: Path) -> None:
    url, world = served
    number = submit(url, spec)

    def delete() -> None:
        World.wait(1.0)
        backend = world.backend
        backend.experiments.delete(backend.experiments.get(number), backend.leases)

    deleter = threading.Thread(target=delete)
    deleter.start()
    with pytest.raises(Refused, match=number):
        Watch(Client(url), Console(file=io.StringIO())).follow(number)
    deleter.join()


def test_a_failed_stage_is_told_with_its_reason_whatever_that_holds(
    served: tuple[str, World], spec: Path
) -> None:
    url, world = served
    number = submit(url, spec)
    for key in world.keys(number)[:3]:
        world.fail(key, "a1", "no such file [/]")
    Client(url).cancel(number)
    screen = io.StringIO()

    state = Watch(Client(url), Console(file=screen, width=200)).follow(number)

    assert state == "cancelled"
    assert "no such file [/]" in screen.getvalue()
    assert "no such file [/]" in lineament("status", number, "--server", url).stdout


EVENTS: list[tuple[str, list[Event]]] = [
    ("event: stage\ndata: {}\nid: a\n\n", [Event("stage", {}, "a")]),
    (": ping\n\nevent: progress\ndata: 1\n\n", [Event("progress", 1, None)]),
    ("data: [1,\ndata: 2]\n\n", [Event("message", [1, 2], None)]),
    ("event: stage\ndata: {}\n", []),
    ("id: a\n\n", []),
]


@pytest.mark.parametrize(("text", "events"), EVENTS)
def test_a_stream_is_read_into_its_whole_events(text: str, events: list[Any]) -> None:
    assert list(read_events(text.splitlines())) == events
