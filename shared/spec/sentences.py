"""Turn pydantic's errors into sentences for the user, each led by the dotted path of a field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.spec.base import MISTAKE, shown
from shared.spec.errors import SpecError
from shared.spec.parse import ROOT

_SENTENCES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "missing": lambda _value, _context: "is missing",
    "literal_error": lambda value, context: (
        f"must be {context['expected'].replace(chr(39), '')}, not {shown(value)}"
    ),
    "int_type": lambda value, _context: f"must be a whole number, not {shown(value)}",
    "float_type": lambda value, _context: f"must be a number, not {shown(value)}",
    "finite_number": lambda value, _context: f"must be a finite number, not {value}",
    "bool_type": lambda value, _context: f"must be true or false, not {shown(value)}",
    "string_type": lambda value, _context: _not_text(value),
    "tuple_type": lambda value, _context: f"must be a list, not {shown(value)}",
    "dict_type": lambda value, _context: (
        f"must be names with what they stand for, not {shown(value)}"
    ),
    "model_type": lambda value, _context: f"must have fields, not be {shown(value)}",
    "too_long": lambda _value, context: (
        f"must have at most {context['max_length']} entries, not {context['actual_length']}"
    ),
    "too_short": lambda _value, context: (
        f"must have at least {context['min_length']} entries, not {context['actual_length']}"
    ),
}


def _not_text(value: Any) -> str:
    quotes = "; put it in quotes" if isinstance(value, bool | int | float) else ""
    return f"must be text, not {shown(value)}{quotes}"


def spec_error(details: ErrorDetails) -> SpecError:
    """One of pydantic's errors as a SpecError."""
    context = details.get("ctx", {})
    path = [str(word) for word in details["loc"] if not _is_pydantics(word)]
    if context.get("field") is not None:
        path.append(context["field"])
    place = ".".join(word[:80] for word in path) or ROOT
    if details["type"] == MISTAKE:
        return SpecError(place, context["message"])
    if details["loc"][-1:] == ("[key]",) and details["type"] not in _SENTENCES:
        return SpecError(place, "is not a name")
    sentence = _SENTENCES.get(details["type"])
    if sentence is None:
        return SpecError(place, f"is not valid: {details['msg']}")
    return SpecError(place, sentence(details["input"], context))


def _is_pydantics(word: str | int) -> bool:
    """True for steps of a path that only pydantic adds: tags of unions, the key of a mapping."""
    return isinstance(word, str) and (word.startswith(":") or word == "[key]")


def spec_errors(error: ValidationError) -> list[SpecError]:
    """All of pydantic's errors as SpecErrors, in the order of the spec, without duplicates."""
    errors = [spec_error(details) for details in error.errors(include_url=False)]
    return list({str(problem): problem for problem in errors}.values())
