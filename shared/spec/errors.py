"""A user's mistakes in a spec: one sentence each, led by the path of the field."""

from __future__ import annotations

from collections.abc import Sequence


class SpecError(ValueError):
    """A mistake in a spec.

    `path` is the field in the user's words ("models.merge.t"), `message` what is wrong with it;
    str() is both: "models.merge.t: must be between 0 and 1, not 1.5". `errors` lists all problems,
    so that callers can treat one and several (`SpecErrors`) alike.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message

    @property
    def errors(self) -> tuple[SpecError, ...]:
        """All problems, at least one."""
        return (self,)


class SpecErrors(SpecError):
    """Several mistakes at once; str() has one per line, `path` and `message` are the first's."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        super().__init__(errors[0].path, errors[0].message)
        self.args = ("\n".join(str(error) for error in errors),)
        self._errors = tuple(errors)

    @property
    def errors(self) -> tuple[SpecError, ...]:
        """All problems, in the order of the spec."""
        return self._errors


def raise_all(errors: Sequence[SpecError]) -> None:
    """Raise the errors: a single one as it is, several as SpecErrors, nothing if there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecErrors(errors)
