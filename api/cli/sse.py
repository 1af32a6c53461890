"""Reading server-sent events (WHATWG HTML, section 9.2) as our server sends them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event; `id` is None where it has none."""

    name: str
    data: Any
    id: str | None


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream; an event that is cut off is dropped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            again = name == "data" and "data" in fields
            fields[name] = f"{fields['data']}\n{value}" if again else value
            continue
        if "data" in fields:
            yield Event(
                fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
            )
        fields = {}
