"""The stack in real containers; compose_test.py says what happens in it."""

from __future__ import annotations

import os

import pytest

from tests.containers.compose_test import run
from tests.containers.engine import NotHere
from tests.containers.files import ROOT


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_quick_start_survives_the_death_of_a_container() -> None:
    spec = os.environ.get("LINEAMENT_COMPOSE_TEST")
    if not spec:
        pytest.skip("builds images for minutes: make compose-test, or set LINEAMENT_COMPOSE_TEST")
    try:
        run(ROOT / spec)
    except NotHere as why:
        pytest.skip(str(why))
