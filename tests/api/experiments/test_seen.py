"""The id of a server-sent event says what the client has seen."""

from __future__ import annotations

import base64
import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from api.experiments.seen import CODES, decode_seen, encode_seen
from shared.experiments.states import StageState

STATES = st.lists(st.sampled_from(StageState), max_size=300)


@given(STATES)
def test_a_word_gives_its_states_back(states: list[StageState]) -> None:
    assert decode_seen(encode_seen(states), len(states)) == states


@given(STATES)
def test_a_word_fits_a_header_line_and_a_url(states: list[StageState]) -> None:
    assert set(encode_seen(states)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(STATES, st.integers(min_value=0, max_value=300))
def test_a_word_of_another_plan_is_not_understood(states: list[StageState], stages: int) -> None:
    found = decode_seen(encode_seen(states), stages)
    assert (found is None) == (stages != len(states))


@given(st.text(max_size=200), st.integers(min_value=0, max_value=50))
def test_any_text_is_states_or_nothing(word: str, stages: int) -> None:
    found = decode_seen(word, stages)
    assert found is None or len(found) == stages


@given(st.binary(max_size=60))
def test_bytes_that_are_no_states_are_nothing(codes: bytes) -> None:
    word = base64.urlsafe_b64encode(zlib.compress(codes)).decode().rstrip("=")
    known = set(codes) <= set(CODES.values())
    assert (decode_seen(word, len(codes)) is not None) == known


def test_every_state_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(StageState)
    assert len(set(CODES.values())) == len(CODES)


def test_the_worst_plan_of_ten_thousand_stages_fits_a_header() -> None:
    rng = random.Random(7)
    states = [rng.choice(list(StageState)) for _ in range(10_000)]
    assert len(encode_seen(states)) < 8_000


def test_a_word_that_would_unpack_to_gigabytes_is_refused_early() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"d" * 50_000_000)).decode().rstrip("=")
    assert decode_seen(bomb, 10) is None
