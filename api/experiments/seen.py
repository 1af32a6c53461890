"""What a client has seen of an experiment, as a short word: the id of a server-sent event.

A plan never changes, so the states of its stages, in the order of the plan, are all there is to
see. The word holds them: one byte a stage, compressed by zlib, in the alphabet of URLs. No server
has to remember a client: whatever was restarted in between, the difference from the present states
is what the client missed. Pure: no I/O.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

from shared.experiments.states import StageState

# One letter a state, which never changes: clients bring back words that an older server wrote.
CODES: dict[StageState, int] = {
    StageState.DONE: ord("d"),
    StageState.FAILED: ord("f"),
    StageState.RUNNING: ord("r"),
    StageState.READY: ord("y"),
    StageState.WAITING: ord("w"),
    StageState.BLOCKED: ord("b"),
    StageState.CANCELLED: ord("c"),
}
_STATES = {code: state for state, code in CODES.items()}


def encode_seen(states: Sequence[StageState]) -> str:
    """The word for the states of all stages of a plan, in its order."""
    packed = zlib.compress(bytes(CODES[state] for state in states), 9)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_seen(word: str, stages: int) -> list[StageState] | None:
    """The states in a word; None when it is not one for a plan of that many stages."""
    try:
        packed = base64.b64decode(word + "=" * (-len(word) % 4), altchars="-_", validate=True)
        reader = zlib.decompressobj()
        codes = reader.decompress(packed, stages + 1)  # a small word can stand for gigabytes
    except (binascii.Error, zlib.error, ValueError):
        return None
    if len(codes) != stages or not set(codes) <= _STATES.keys():
        return None
    return [_STATES[code] for code in codes]
