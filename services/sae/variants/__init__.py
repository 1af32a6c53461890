"""Kinds of dictionaries, one file each over one small interface (`base.Variant`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from services.sae.sparse.select import SPARSE_UP_TO
from services.sae.variants.base import Buffers, Variant
from shared.spec.registry import implementations
from shared.spec.variants import SPARSITIES, trained_per
from shared.stages.sae import DictionaryParameters


def _variants(module: ModuleType) -> list[type[Variant]]:
    """A variant is the subclass of `base.Variant` that its module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Variant)
        and value.__module__ == module.__name__
    ]


DECLARED = trained_per("model")
VARIANTS: Mapping[str, type[Variant]] = implementations(DECLARED, __name__, __path__, _variants)


def make_variant(
    parameters: DictionaryParameters,
    buffers: Buffers | None = None,
    sparse_up_to: float = SPARSE_UP_TO,
) -> Variant:
    """The variant that the parameters name."""
    return VARIANTS[parameters.variant](parameters, sparse_up_to, buffers or Buffers())


def check(parameters: DictionaryParameters, features: int) -> None:
    """Raise ValueError, naming the field, where the parameters do not fit their variant."""
    name, declared = parameters.variant, DECLARED[parameters.variant]
    given = [field for field in SPARSITIES if getattr(parameters, field) is not None]
    if declared.with_k and given != ["k"]:
        raise ValueError(f"k: {name} takes k and neither l1 nor l0")
    if not declared.with_k and given not in (["l1"], ["l0"]):
        raise ValueError(f"l1: {name} takes either l1 or l0, and no k")
    if parameters.k is not None and not 1 <= parameters.k <= features:
        raise ValueError(f"k: {parameters.k} must be at least 1 and at most {features} features")
    if parameters.l0 is not None and not 0 < parameters.l0 < features:
        raise ValueError(f"l0: {parameters.l0} must be above 0 and below {features} features")
    if parameters.revive not in declared.revivals:
        allowed = " or ".join(declared.revivals)
        raise ValueError(f"revive: {name} takes {allowed}, not {parameters.revive}")
    make_variant(parameters).check(features)
