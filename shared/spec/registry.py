"""Registries: entries that are found by looking into a folder, one file each.

An entry has two files of one name. Its declaration, below `shared/spec`, says what a spec may ask
of it; its code, below `services`, does it. Nothing else lists the entries: the choices of a spec
are the declarations that exist. A service refuses to start when a declaration has no code, and to
load code that nobody declares.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

BASE = "base"  # the module of a folder that all entries build on


class RegistryError(Exception):
    """A declaration without code, code without a declaration, or one of them malformed."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """An entry as a spec knows it: the name, and one line of prose that documents it."""

    name: str
    summary: str

    @property
    def module(self) -> str:
        """What its two files are called."""
        return self.name.replace("-", "_")


Declared = TypeVar("Declared", bound=Declaration)
Code = TypeVar("Code")


def declared(
    package: str, path: Iterable[str], kind: type[Declared], first: str | None = None
) -> dict[str, Declared]:
    """The declarations in the modules of a package, by name: `first`, the others by alphabet.

    Every module but `base` holds exactly one, under the entry's own name; RegistryError otherwise.
    """
    found: dict[str, Declared] = {}
    for module in _modules(package, path):
        entries = [value for value in vars(module).values() if isinstance(value, kind)]
        if len(entries) != 1:
            raise RegistryError(f"{module.__name__} must declare one entry, not {len(entries)}")
        if entries[0].module != _last(module):
            raise RegistryError(f"{module.__name__} declares {entries[0].name}; rename one of them")
        found[entries[0].name] = entries[0]
    if first is not None and first not in found:
        raise RegistryError(f"{package} has no {first}, which is the default")
    return {name: found[name] for name in sorted(found, key=lambda name: (name != first, name))}


def check_files(
    declarations: Mapping[str, Declaration], package: str, path: Iterable[str], folder: str = ""
) -> None:
    """Raise RegistryError for a name without a file of code in a package, or in a folder of it.

    It looks at names of files and imports nothing: a worker's supervisor holds no torch.
    """
    places = [f"{place}/{folder}" if folder else place for place in path]
    files = {module.name for module in pkgutil.iter_modules(places)}
    for name, declaration in declarations.items():
        if declaration.module not in files:
            raise _no_code(name, f"{package}.{folder}" if folder else package)


def implementations(
    declarations: Mapping[str, Declaration],
    package: str,
    path: Iterable[str],
    entries_of: Callable[[ModuleType], list[Code]],
) -> dict[str, Code]:
    """The code of every declaration, by name, out of the modules of a package.

    `entries_of` lists what a module defines of that kind: one in the file of an entry, nothing in
    that of a helper. Raises RegistryError where declarations and code do not match.
    """
    names = {declaration.module: name for name, declaration in declarations.items()}
    found: dict[str, Code] = {}
    for module in _modules(package, path):
        entries, name = entries_of(module), names.get(_last(module))
        if name is None and entries:
            raise RegistryError(f"{module.__name__} has the code of an entry that nobody declares")
        if name is not None and len(entries) != 1:
            raise RegistryError(f"{module.__name__} must define one entry, not {len(entries)}")
        if name is not None:
            found[name] = entries[0]
    for name in declarations:
        if name not in found:
            raise _no_code(name, package)
    return {name: found[name] for name in declarations}


def defined(module: ModuleType, name: str) -> list[Any]:
    """What a module itself defines under a name, if it does: for `entries_of`."""
    value = vars(module).get(name)
    return [value] if getattr(value, "__module__", None) == module.__name__ else []


def prose(declarations: Mapping[str, Declaration]) -> str:
    """What the declarations say of themselves, as documentation: `name: summary; name: ..`."""
    return "; ".join(f"{name}: {one.summary}" for name, one in declarations.items())


def _modules(package: str, path: Iterable[str]) -> Iterator[ModuleType]:
    """The modules of a package that may hold an entry, in the order of the alphabet."""
    for name in sorted(module.name for module in pkgutil.iter_modules(path)):
        if name != BASE:
            yield importlib.import_module(f"{package}.{name}")


def _last(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _no_code(name: str, package: str) -> RegistryError:
    return RegistryError(f"{name} is declared but has no code: {package} has no module of its name")
