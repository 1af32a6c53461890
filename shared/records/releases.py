"""Read records that another release of Lineament may have written.

During an upgrade, and after going back to an older release, the store holds records whose form the
running code does not know.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

Cause = Literal["format", "kind", "version", "parameters"]
CAUSES: tuple[Cause, ...] = ("format", "kind", "version", "parameters")

T = TypeVar("T", bound=BaseModel)


class OtherReleaseError(Exception):
    """This release cannot read a record or compute a stage; the sentence is for the user.

    `cause` is the label under which a metric counts it.
    """

    def __init__(self, sentence: str, cause: Cause = "format") -> None:
        super().__init__(sentence)
        self.cause = cause


def read_record(model: type[T], data: bytes, what: str) -> T:
    """Parse a record of the store; OtherReleaseError when this release does not understand it.

    `what` names the record in the message. A record that is not even JSON is reported as damaged,
    since records are written whole.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise _unreadable(error, what) from error


def read_values(model: type[T], values: Any, what: str) -> T:
    """`read_record` for a part of a record whose JSON was parsed before."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _unreadable(error, what) from error


def _unreadable(error: ValidationError, what: str) -> OtherReleaseError:
    if error.errors(include_input=False)[0]["type"] == "json_invalid":
        return OtherReleaseError(f"{what} is damaged in the store: it is no JSON")
    return OtherReleaseError(
        f"{what} was written by a newer release of Lineament, which this one cannot read"
    )
