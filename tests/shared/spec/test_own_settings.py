"""Settings of single entries: fields of a spec and of a stage, and who may use them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field
from pydantic_core import PydanticCustomError

from shared.spec.base import Number, Part
from shared.spec.own_settings import (
    Configurable,
    InEveryKey,
    OwnSettings,
    check_owned,
    in_spec,
    in_stage,
    passed_on,
)
from shared.spec.registry import RegistryError
from shared.stages.base import Parameters


class Old(OwnSettings):
    slope: Annotated[Number | None, InEveryKey(0.5)] = Field(None, description="Of old.")


class New(OwnSettings):
    gain: Number = Field(3.0, description="Of new.")


def entry(name: str, settings: type[OwnSettings]) -> Configurable:
    return Configurable(name=name, summary=name, settings=settings)


ENTRIES = {
    one.name: one for one in (entry("old", Old), entry("new", New), entry("bare", OwnSettings))
}


@in_spec(ENTRIES)
class Choice(Part):
    """A part of a spec."""

    name: str


@in_stage(ENTRIES)
class StageParameters(Parameters):
    """Parameters of its stage."""

    name: str


def dumped(choice: Any) -> dict[str, Any]:
    """The parameters that a planner makes of it, as they go into a key."""
    own = passed_on(ENTRIES[choice.name], choice)
    return StageParameters(name=choice.name, **own).model_dump(mode="json")


def test_a_spec_has_the_settings_of_all_entries_with_their_descriptions() -> None:
    assert {name: field.description for name, field in Choice.model_fields.items()} == {
        "name": None,
        "slope": "Of old.",
        "gain": "Of new.",
    }
    assert (Choice.__name__, Choice.__doc__) == ("Choice", "A part of a spec.")


def test_a_key_holds_what_it_always_held_and_a_new_setting_only_where_it_is_read() -> None:
    assert dumped(Choice(name="bare")) == {"name": "bare", "slope": 0.5}
    assert dumped(Choice(name="old", slope=2.0)) == {"name": "old", "slope": 2.0}
    assert dumped(Choice(name="new")) == {"name": "new", "slope": 0.5, "gain": 3.0}
    assert dumped(Choice(name="new", gain=4.0)) == {"name": "new", "slope": 0.5, "gain": 4.0}


def test_code_reads_its_settings_from_the_parameters_or_has_the_default() -> None:
    assert New.of(StageParameters(name="new", gain=4.0)).gain == 4.0
    assert New.of(StageParameters(name="new")).gain == 3.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"slope": 1.0}, "belongs to old, not to bare"),
        ({"gain": 1.0}, "1.0 belongs to new, not to bare"),
    ],
)
def test_a_setting_of_another_entry_is_refused(given: dict[str, float], sentence: str) -> None:
    with pytest.raises(PydanticCustomError, match=sentence):
        check_owned(ENTRIES, "bare", Choice(name="bare", **given))


def test_settings_that_are_not_given_belong_to_nobody() -> None:
    check_owned(ENTRIES, "bare", Choice(name="bare", gain=3.0))
    check_owned(ENTRIES, "old", Choice(name="old", slope=1.0))


def test_a_setting_needs_a_default_and_a_name_that_is_free() -> None:
    class Required(OwnSettings):
        size: int

    class Another(OwnSettings):
        slope: int = 1

    class Taken(OwnSettings):
        name: str = ""

    with pytest.raises(RegistryError, match="wrong: the setting size needs a default"):
        in_spec({"wrong": entry("wrong", Required)})
    with pytest.raises(RegistryError, match="wrong: there is another setting of the name slope"):
        in_spec({**ENTRIES, "wrong": entry("wrong", Another)})
    with pytest.raises(RegistryError, match="Choice has a field name, no entry can have it too"):
        in_spec({"wrong": entry("wrong", Taken)})(Choice)
