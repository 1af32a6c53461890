from __future__ import annotations

from pathlib import Path

import pytest

from tests.k8s.rendering import VARIANTS, Object, rendered


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("k8s")


@pytest.fixture(params=VARIANTS)
def objects(request: pytest.FixtureRequest, scratch: Path) -> list[Object]:
    """What each variant would send to the cluster."""
    return rendered(request.param, scratch)
