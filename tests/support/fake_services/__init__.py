"""Services whose stages behave as a test asks; the engine's tests run them for real."""

from __future__ import annotations

from shared.stages.entry import stage_modules

PACKAGE = "tests.support.fake_services"


def versions() -> dict[str, int]:
    """The kinds of the service `fake`, all in version 1."""
    return {name.rpartition(".")[2]: 1 for name in stage_modules(PACKAGE, "fake")}
