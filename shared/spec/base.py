"""The base model of all parts of a spec, and the types of their fields."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MISTAKE = "mistake"  # the type of our own errors: the message is a sentence for the user
MAX_TOKENS = 10**13  # more than any corpus has; keeps estimates and loops finite


def mistake(message: str, field: str | None = None) -> PydanticCustomError:
    """An error at the place that is being validated, or at `field` below it."""
    return PydanticCustomError(MISTAKE, "{message}", {"message": message, "field": field})


def suggestion(word: str, known: Iterable[str]) -> str:
    """A half-sentence that names the closest known word, or all of them when none is close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(known)}" if known else "there is none"


class Part(BaseModel):
    """Base of every part of a spec: frozen, and refuses unknown fields.

    `HINTS` maps a wrong field that people are likely to write to a sentence that helps them.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        validate_by_alias=True,
        validate_by_name=False,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )
    HINTS: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        fields = [field.alias or name for name, field in cls.model_fields.items()]
        for name in values:
            if name in fields:
                continue
            if name in cls.HINTS:
                raise mistake(cls.HINTS[name], name)
            raise mistake(f"is not a field here; {suggestion(str(name), fields)}", str(name))
        return values

    def exactly_one(self, *names: str) -> Self:
        """Raise a mistake unless exactly one of the fields has a value."""
        attributes = {field.alias or name: name for name, field in type(self).model_fields.items()}
        given = [name for name in names if getattr(self, attributes[name]) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none of them"
            raise mistake(f"takes exactly one of {', '.join(names)}; it has {has}")
        return self


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included unless `above` excludes `low`."""

    low: float
    high: float
    above: bool = False

    def _check(self, value: float) -> float:
        if (value <= self.low if self.above else value < self.low) or value > self.high:
            between = f"between {self.low:,} and {self.high:,}"
            above = f"above {self.low:,} and at most {self.high:,}"
            raise mistake(f"must be {above if self.above else between}, not {value}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        low = "exclusiveMinimum" if self.above else "minimum"
        return {**handler(schema), low: self.low, "maximum": self.high}


@dataclass(frozen=True)
class Pattern:
    """Text that matches a regular expression as a whole; `words` describe it to the user."""

    expression: str
    words: str

    def _check(self, value: str) -> str:
        if re.fullmatch(self.expression, value, re.ASCII) is None:
            raise mistake(f"must be {self.words}, not {shown(value)}")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.expression})$"}


@dataclass(frozen=True)
class OneOf:
    """A word out of the names of a registry; otherwise as a Literal."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        del source, handler
        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class Distinct:
    """A list of at least one entry without duplicates."""

    most: int = 1000

    def _check(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise mistake("must not be empty")
        if len(values) > self.most:
            raise mistake(f"must have at most {self.most} entries, not {len(values)}")
        for number, value in enumerate(values):
            if value in values[:number]:
                raise mistake(f"names {value} twice")
        return values

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        rules = {"minItems": 1, "maxItems": self.most, "uniqueItems": True}
        return {**handler(schema), **rules}


def shown(value: object) -> str:
    """A value as error messages show it: quoted when it is text, and cut when it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _whole(value: Any) -> Any:
    """The value, as an int where it is a float without a fraction: 1e6 is a whole number too."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


# Strict: "12" and true are no numbers, and 12 is no text.
Whole = Annotated[int, Strict(), BeforeValidator(_whole, json_schema_input_type=int)]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Share = Annotated[Number, Between(0, 1)]
Count = Annotated[Whole, Between(1, MAX_TOKENS)]
Name = Annotated[
    str,
    Strict(),
    Pattern("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "at most 64 letters, digits, - and _"),
]
MemberName = Annotated[
    str,
    Strict(),
    Pattern(
        "[A-Za-z0-9][A-Za-z0-9_-]{0,63}(@[1-9][0-9]{0,13})?",
        "the name of a model, or of a checkpoint as model@step",
    ),
]
HubId = Annotated[
    str,
    Strict(),
    Pattern(
        r"(?!.*(\.\.|--))[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?",
        "the name of a hub repository (owner/name)",
    ),
]
Revision = Annotated[
    str,
    Strict(),
    Pattern(r"(?!.*\.\.)[A-Za-z0-9][\w./-]{0,199}", "a commit, branch or tag of the repository"),
]
UploadName = Annotated[
    str,
    Strict(),
    Pattern("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "the name of an upload"),
]
Label = Annotated[str, Strict(), Pattern(r"[^\x00-\x1f]{1,200}", "a short text")]
