"""Settings that belong to single entries of a registry.

A part of a spec, and the parameters of the stage that it leads to, hold the settings of all
entries: each is a field there, by the name, type, default and description of its declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, get_type_hints

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from shared.spec.base import Part, mistake
from shared.spec.registry import Declaration, RegistryError

Model = TypeVar("Model", bound=BaseModel)


class OwnSettings(Part):
    """The settings of one entry, all of them with a default; the base has none."""

    @classmethod
    def of(cls, values: BaseModel) -> Self:
        """These settings out of a part of a spec, or out of the parameters of a stage."""
        given = {name: getattr(values, name) for name in cls.model_fields}
        return cls(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Configurable(Declaration):
    """An entry with settings of its own."""

    settings: type[OwnSettings] = OwnSettings


@dataclass(frozen=True)
class InEveryKey:
    """Marks a setting that stands in the key of every stage, whichever entry the stage is of.

    There it has this value where a spec says nothing. The first settings were made so, and a key
    may not change. A setting without the mark stands only in the keys of entries that have it, so
    that a new one leaves all keys that exist as they are.
    """

    value: Any


def owners(declarations: Mapping[str, Configurable]) -> dict[str, list[str]]:
    """For every setting the names of the entries that have it."""
    found: dict[str, list[str]] = {}
    for name, declaration in declarations.items():
        for setting in declaration.settings.model_fields:
            found.setdefault(setting, []).append(name)
    return found


def in_spec(declarations: Mapping[str, Configurable]) -> Callable[[type[Model]], type[Model]]:
    """Decorator of a part of a spec: it gets the settings of all entries, after its own fields."""

    fields = {
        name: (hint, Field(field.default, description=field.description))
        for name, hint, field in _settings(declarations)
    }
    return lambda model: _with_fields(model, fields)


def in_stage(declarations: Mapping[str, Configurable]) -> Callable[[type[Model]], type[Model]]:
    """Decorator of the parameters of a stage: as `in_spec`; what a key does not hold is left out.

    See InEveryKey.
    """

    fields: dict[str, Any] = {}
    for name, hint, field in _settings(declarations):
        marks = [mark for mark in field.metadata if isinstance(mark, InEveryKey)]
        text = field.description
        if marks:
            fields[name] = (hint, Field(marks[0].value, description=text))
        else:
            absent = Field(None, description=text, exclude_if=lambda value: value is None)
            fields[name] = (hint | None, absent)
    return lambda model: _with_fields(model, fields)


def check_owned(declarations: Mapping[str, Configurable], chosen: str, part: BaseModel) -> None:
    """Raise a mistake for a setting that has a value of its own and does not belong to `chosen`."""
    fields = {name: field for name, _, field in _settings(declarations)}
    for name, having in owners(declarations).items():
        value, default = getattr(part, name), fields[name].default
        if chosen in having or value is None or value == default:
            continue
        what = "belongs" if default is None else f"{value} belongs"
        raise mistake(f"{what} to {one_of(sorted(having), 'and')}, not to {chosen}", name)


def passed_on(declaration: Configurable, part: BaseModel) -> dict[str, Any]:
    """What a part of a spec says of an entry's own settings, for the parameters of its stage."""
    return declaration.settings.of(part).model_dump(exclude_none=True)


def one_of(names: Iterable[str], last: str = "or") -> str:
    """Names as a half-sentence: a, b or c."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def _settings(declarations: Mapping[str, Configurable]) -> list[tuple[str, Any, FieldInfo]]:
    """Name, type with its rules, and field of every setting, each once.

    Raises RegistryError for a setting without a default, or one that two entries define each.
    """
    found: dict[str, tuple[str, Any, FieldInfo]] = {}
    for entry, declaration in declarations.items():
        hints = get_type_hints(declaration.settings, include_extras=True)
        for name, field in declaration.settings.model_fields.items():
            if field.is_required():
                raise RegistryError(f"{entry}: the setting {name} needs a default")
            if name in found and hints[name] != found[name][1]:
                raise RegistryError(f"{entry}: there is another setting of the name {name}")
            found.setdefault(name, (name, hints[name], field))
    return list(found.values())


def _with_fields(model: type[Model], fields: Mapping[str, Any]) -> type[Model]:
    for name in fields:
        if name in model.model_fields:
            raise RegistryError(f"{model.__name__} has a field {name}, no entry can have it too")
    return create_model(
        model.__name__,
        __base__=model,
        __module__=model.__module__,
        __doc__=model.__doc__,
        **fields,
    )
