"""Ways to combine the weights of models, one file each over one small interface (`base`)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial

from services.merger.methods.base import Combine
from shared.spec.merges import METHODS
from shared.spec.own_settings import passed_on
from shared.spec.registry import RegistryError, defined, implementations
from shared.stages.merger import MergeParameters, SweepParameters

COMBINE: Mapping[str, Combine] = implementations(
    METHODS, __name__, __path__, lambda module: defined(module, "combine")
)


def check_settings(name: str, combine: Combine) -> None:
    """Raise RegistryError unless a method's code takes the settings that it declares."""
    declared = {*METHODS[name].settings.model_fields, *(["t"] if METHODS[name].direction else [])}
    parameters = inspect.signature(combine).parameters.values()
    takes = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    if takes != declared:
        raise RegistryError(
            f"the merge method {name} declares the settings {sorted(declared)}, but its code takes "
            f"{sorted(takes)}"
        )


for _name, _combine in COMBINE.items():
    check_settings(_name, _combine)


def method_of(parameters: MergeParameters | SweepParameters) -> Combine:
    """The method that the parameters name, with its own settings; t is still to be given."""
    name = parameters.method
    return partial(COMBINE[name], **passed_on(METHODS[name], parameters))
