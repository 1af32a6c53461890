"""Kinds of dictionaries, one file each over one small interface (`base.Variant`)."""

from __future__ import annotations

from services.sae.sparse.select import SPARSE_UP_TO
from services.sae.variants.base import Buffers, Variant
from services.sae.variants.batchtopk import BatchTopK
from services.sae.variants.gated import Gated
from services.sae.variants.jumprelu import JumpRelu
from services.sae.variants.matryoshka import Matryoshka, prefixes_of
from services.sae.variants.relu import Relu
from services.sae.variants.topk import TopK
from shared.stages.sae import DictionaryParameters

VARIANTS: dict[str, type[Variant]] = {
    "relu": Relu,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
    "matryoshka": Matryoshka,
}
WITH_K = ("topk", "batchtopk", "matryoshka")
REVIVALS = {"relu": ("ghost", "resample", "none")} | dict.fromkeys(WITH_K, ("aux", "none"))


def make_variant(
    parameters: DictionaryParameters,
    buffers: Buffers | None = None,
    sparse_up_to: float = SPARSE_UP_TO,
) -> Variant:
    """The variant that the parameters name."""
    return VARIANTS[parameters.variant](parameters, sparse_up_to, buffers or Buffers())


def check(parameters: DictionaryParameters, features: int) -> None:
    """Raise ValueError, naming the field, where the parameters do not fit their variant."""
    name = parameters.variant
    given = [field for field in ("l1", "l0", "k") if getattr(parameters, field) is not None]
    if name in WITH_K and given != ["k"]:
        raise ValueError(f"k: {name} takes k and neither l1 nor l0")
    if name not in WITH_K and given not in (["l1"], ["l0"]):
        raise ValueError(f"l1: {name} takes either l1 or l0, and no k")
    if parameters.k is not None and not 1 <= parameters.k <= features:
        raise ValueError(f"k: {parameters.k} must be at least 1 and at most {features} features")
    if parameters.l0 is not None and not 0 < parameters.l0 < features:
        raise ValueError(f"l0: {parameters.l0} must be above 0 and below {features} features")
    if parameters.revive not in REVIVALS.get(name, ("none",)):
        allowed = " or ".join(REVIVALS.get(name, ("none",)))
        raise ValueError(f"revive: {name} takes {allowed}, not {parameters.revive}")
    if name == "matryoshka":
        prefixes_of(parameters, features)
