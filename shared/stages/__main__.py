"""Writes docs/stages.md, every stage kind with its contract, from the table of kinds."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.spec.base import OneOf
from shared.stages.base import File, Kind
from shared.stages.kinds import KINDS, SERVICES

PLACE = Path(__file__).parents[2] / "docs" / "stages.md"
INTRODUCTION = """\
# Stages

Written by `python -m shared.stages` from `shared/stages/`; change it there.

A plan is a graph of stages. The key of a stage is the hash of its kind, its version, its parameters
and the keys of its inputs; stages with the same key are the same artifact. An artifact has files,
and results, which are part of its manifest. In the names of inputs and files `*` stands for the
numbers from 0 on, and `{word}` for a name or number of that sort, one input (or file) for each; a
name that ends with `?` may be absent.
"""
KIND_OF = {kind.parameters: kind.name for kind in KINDS.values()}


def page() -> str:
    """The whole page, Markdown."""
    parts = [INTRODUCTION]
    for service in SERVICES:
        parts.append(f"## {service}\n")
        parts += [section(kind) for kind in KINDS.values() if kind.service == service]
    return "\n".join(parts)


def section(kind: Kind) -> str:
    """One kind: what it does, its parameters and its contract."""
    parts = [
        f"### {kind.name}\n\n{kind.does} Version {kind.version}.\n",
        _listed("Parameters", parameters(kind.parameters)),
        _listed("Inputs", _named(kind.inputs)),
        _listed("Files", _files(kind.files)),
        _listed("Results", _named(kind.results)),
        _listed("Terms", (f"- {name}: {line}" for name, line in kind.terms.items())),
    ]
    return "\n".join(part for part in parts if part)


def _listed(title: str, lines: Iterator[str]) -> str:
    found = "\n".join(lines)
    return f"{title}:\n\n{found}\n" if found else ""


def _named(lines: Mapping[str, str], indent: str = "") -> Iterator[str]:
    for name, line in lines.items():
        yield f"{indent}- `{name}`: {line}"


def _files(files: Mapping[str, File]) -> Iterator[str]:
    for name, file in files.items():
        yield f"- `{name}`: {file.about}"
        yield from _named(file.parts, "  ")


# ------------------------------------------------------------------------------ parameters


def parameters(model: type[BaseModel], indent: str = "") -> Iterator[str]:
    """The fields of a model, one line each, and below them the fields of their models."""
    for name, field in model.model_fields.items():
        about = field.description or ""
        yield f"{indent}- `{name}: {_type(field)}{_default(field)}` {about}".rstrip()
        for inner in _models(field.annotation):
            if inner in KIND_OF:
                yield f"{indent}  - `{inner.__name__}`: as in `{KIND_OF[inner]}`"
            else:
                yield f"{indent}  - `{inner.__name__}`: {inspect.getdoc(inner)}"
                yield from parameters(inner, indent + "    ")


def _type(field: FieldInfo) -> str:
    """The type of a field; the names where they come from a registry."""
    choices = [rule.names for rule in field.metadata if isinstance(rule, OneOf)]
    return _words(choices[0]) if choices else spelled(field.annotation)


def _words(values: Iterable[Any]) -> str:
    return " | ".join(f'"{value}"' for value in values)


def spelled(annotation: Any) -> str:
    """A type as one writes it."""
    arguments = get_args(annotation)
    if annotation is NoneType:
        return "None"
    if not arguments:
        return str(annotation.__name__)
    if get_origin(annotation) is Annotated:
        return spelled(arguments[0])  # rules of a value are told in its description
    if get_origin(annotation) is Literal:
        return _words(arguments)
    inner = ["..." if one is Ellipsis else spelled(one) for one in arguments]
    origin = get_origin(annotation)
    if origin in (tuple, dict):
        return f"{origin.__name__}[{', '.join(inner)}]"
    return " | ".join(inner)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    return f' = "{value}"' if isinstance(value, str) else f" = {value}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


if __name__ == "__main__":
    PLACE.write_text(page(), encoding="utf-8")
