"""Where the code of a stage kind is found.

Kind K of service S is the function `run` of services/S/K.py, or of services/S/K/stage.py when it
has helpers. A kind that is a word of Python (`import`) has `_model` behind its name there.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import pkgutil
from collections.abc import Callable, Iterator

from shared.stages.stage import Stage

IN_FOLDER = "stage"  # module of a folder that holds the function


def home(kind: str) -> str:
    """The name of a kind's module or folder."""
    return f"{kind}_model" if keyword.iskeyword(kind) else kind


def stage_function(package: str, service: str, kind: str) -> Callable[[Stage], None]:
    """The function that computes a kind of stage, in a service of `package`."""
    name = f"{package}.{service}.{home(kind)}"
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.{IN_FOLDER}")
    function: Callable[[Stage], None] = module.run
    return function


def stage_modules(package: str, service: str) -> Iterator[str]:
    """Names of the modules of a service that may hold a stage, in alphabetical order."""
    folder = importlib.import_module(f"{package}.{service}")
    for found in pkgutil.iter_modules(folder.__path__, f"{package}.{service}."):
        if not found.ispkg:
            yield found.name
        elif importlib.util.find_spec(f"{found.name}.{IN_FOLDER}") is not None:
            yield f"{found.name}.{IN_FOLDER}"
