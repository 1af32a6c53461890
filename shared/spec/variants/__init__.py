"""Variants of dictionaries, one file each: what a spec may ask of them, and how it is refused.

Their code is in services/sae/variants under the same names; a variant that is trained for every
edge (crosscoder) is a stage of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.spec.base import mistake
from shared.spec.own_settings import check_owned, one_of
from shared.spec.registry import declared
from shared.spec.variants.base import Sparsity, VariantDeclaration

# relu, because of all variants two of its seeds share the most features (docs/method.md).
DEFAULT = "relu"
DEFAULT_WITH_K = "batchtopk"
VARIANTS: Mapping[str, VariantDeclaration] = declared(
    __name__, __path__, VariantDeclaration, first=DEFAULT
)
SPARSITIES: tuple[Sparsity, ...] = ("l1", "l0", "k")
# Settings that fit one number of features only.
OF_ONE_SIZE = sorted({name for one in VARIANTS.values() for name in one.settings.OF_ONE_SIZE})


def trained_per(what: str) -> dict[str, VariantDeclaration]:
    """The variants with one dictionary for each model, or for each edge."""
    return {name: one for name, one in VARIANTS.items() if one.per == what}


def taking(sparsity: Sparsity, what: str | None = None) -> str:
    """Names of the variants that take that field, as a list in a sentence."""
    among = VARIANTS if what is None else trained_per(what)
    return ", ".join(name for name, one in among.items() if sparsity in one.sparsity)


def sparsity_field(variant: str, given: Mapping[str, Any]) -> str:
    """The one field of SPARSITIES that says how sparse it is.

    Raises a mistake when the variant does not take what is given, takes more than one, or has none.
    """
    takes = VARIANTS[variant].sparsity
    has = [name for name in SPARSITIES if given.get(name) is not None]
    for name in has:
        if name not in takes:
            raise mistake(f"{variant} takes {one_of(takes)}, not {name}", name)
    if not has:
        raise mistake(f"is missing: {variant} takes {one_of(takes)}", takes[0])
    if len(has) > 1:
        raise mistake(f"{variant} takes {one_of(takes)}, not both", has[1])
    return has[0]


def check_variant(variant: str, recipe: Any) -> None:
    """Raise a mistake for a setting that the variant does not read, or reads otherwise."""
    check_owned(VARIANTS, variant, recipe)
    chosen = VARIANTS[variant]
    if recipe.revive is not None and recipe.revive not in chosen.revivals:
        raise mistake(f"{variant} takes {one_of(chosen.revivals)}, not {recipe.revive}", "revive")
    if chosen.with_k and recipe.sparsity_warmup_steps:
        raise mistake(f"belongs to l1 and l0; {variant} has a fixed k", "sparsity_warmup_steps")
