"""Which settings each variant of a dictionary takes, and the sentence for those it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from pydantic_core import PydanticCustomError

from shared.spec.base import mistake

# How sparse a dictionary is, by variant: it takes exactly one of these fields.
SPARSITY: Mapping[str, tuple[str, ...]] = {
    "relu": ("l1", "l0"),
    "gated": ("l1", "l0"),
    "jumprelu": ("l1", "l0"),
    "topk": ("k",),
    "batchtopk": ("k",),
    "matryoshka": ("k",),
    "crosscoder": ("k",),
}
SPARSITIES = ("l1", "l0", "k")
FIXED_K = frozenset(name for name, fields in SPARSITY.items() if fields == ("k",))
# What is done about dead features: the first is the default.
REVIVE: Mapping[str, tuple[str, ...]] = {
    "relu": ("ghost", "resample", "none"),
    "gated": ("none",),
    "jumprelu": ("none",),
    **dict.fromkeys(sorted(FIXED_K), ("aux", "none")),
}
# Settings of some variants only.
ONLY: Mapping[str, frozenset[str]] = {
    "prefixes": frozenset({"matryoshka"}),
    "bandwidth": frozenset({"jumprelu"}),
    "aux_coefficient": FIXED_K,
}


def one_of(names: Iterable[str], last: str = "or") -> str:
    """Names as a half-sentence: a, b or c."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def sparsity_field(variant: str, given: Mapping[str, Any]) -> str:
    """The one field of SPARSITIES that says how sparse it is.

    Raises a mistake when the variant does not take what is given, takes more than one, or has none.
    """
    takes = SPARSITY[variant]
    has = [name for name in SPARSITIES if given.get(name) is not None]
    for name in has:
        if name not in takes:
            raise mistake(f"{variant} takes {one_of(takes)}, not {name}", name)
    if not has:
        raise mistake(f"is missing: {variant} takes {one_of(takes)}", takes[0])
    if len(has) > 1:
        raise mistake(f"{variant} takes {one_of(takes)}, not both", has[1])
    return has[0]


def check_variant(variant: str, given: Mapping[str, Any]) -> None:
    """Raise a mistake for a setting that the variant does not read, or reads otherwise."""
    for name, variants in ONLY.items():
        if given.get(name) is not None and variant not in variants:
            raise mistake(f"belongs to {one_of(sorted(variants), 'and')}, not to {variant}", name)
    if variant != "relu" and given.get("decoder_norm") == "penalised":
        raise mistake(f"penalised belongs to relu, not to {variant}", "decoder_norm")
    revive = given.get("revive")
    if revive is not None and revive not in REVIVE[variant]:
        raise mistake(f"{variant} takes {one_of(REVIVE[variant])}, not {revive}", "revive")
    if variant in FIXED_K and given.get("sparsity_warmup_steps"):
        raise mistake(f"belongs to l1 and l0; {variant} has a fixed k", "sparsity_warmup_steps")


def wrong_prefixes(prefixes: tuple[int, ...], features: int | None) -> PydanticCustomError | None:
    """The mistake in the sizes of nested dictionaries, if there is one."""
    if any(after <= before for before, after in pairwise(prefixes)):
        return mistake("must ascend, each size larger than the one before", "prefixes")
    if features is not None and prefixes[-1] != features:
        return mistake(
            f"must end with all {features} features, not with {prefixes[-1]}", "prefixes"
        )
    return None
