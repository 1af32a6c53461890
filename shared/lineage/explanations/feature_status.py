"""What became of an explained feature in its family."""

from __future__ import annotations

from typing import Literal, get_args

FeatureStatus = Literal["universal", "persisting", "emerging", "disappearing"]

FEATURE_STATUSES: tuple[FeatureStatus, ...] = get_args(FeatureStatus)
"""Every status there is, in the order in which tables and pages show them."""
