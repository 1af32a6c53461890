"""Finished work stays finished: the keys of all stages are those that the last release had."""

from __future__ import annotations

from tests.support.stage_keys import FILE, lines


def test_every_stage_has_the_key_that_it_always_had() -> None:
    assert list(lines()) == FILE.read_text().splitlines()
