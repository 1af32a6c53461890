"""The user's spec: `load_spec` reads and checks it into pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.spec.check import check
from shared.spec.document import Spec
from shared.spec.errors import SpecError, raise_all
from shared.spec.family import Member, checkpoint_name, family, split_name
from shared.spec.lineage import (
    ancestor_pairs,
    ancestry,
    architecture_of,
    distribution,
    group_edges,
    group_models,
    lineage_edges,
    shares_basis,
    topological,
)
from shared.spec.parse import ROOT, SPEC_LIMIT, read_text
from shared.spec.sentences import spec_errors

__all__ = [
    "SPEC_LIMIT",
    "Member",
    "Spec",
    "ancestor_pairs",
    "ancestry",
    "architecture_of",
    "checkpoint_name",
    "distribution",
    "family",
    "group_edges",
    "group_models",
    "lineage_edges",
    "load_spec",
    "parse_spec",
    "shares_basis",
    "spec_schema",
    "split_name",
    "topological",
]


def load_spec(text: str | bytes) -> Spec:
    """The spec in a YAML or JSON text of at most SPEC_LIMIT; raises SpecError or SpecErrors."""
    return parse_spec(read_text(text))


def parse_spec(values: Mapping[str, Any]) -> Spec:
    """The spec in plain values (as from JSON); raises SpecError or SpecErrors."""
    if not isinstance(values, Mapping):
        raise SpecError(ROOT, "must be a mapping with version, name, tokenizer, corpora and models")
    try:
        spec = Spec.model_validate(values)
    except ValidationError as error:
        raise_all(spec_errors(error))
        raise AssertionError("pydantic raised without an error") from error
    check(spec)
    return spec


def spec_schema() -> dict[str, Any]:
    """The JSON Schema of a spec."""
    return Spec.model_json_schema(by_alias=True)
