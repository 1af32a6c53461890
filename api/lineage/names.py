"""Names for keys: which stage of an experiment made what a user calls by name.

The report stage of a plan names everything (see REPORT); here its inputs are looked up
one by one, so that each can be shown as soon as it is finished, long before the report is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.backend import Backend
from api.http.problems import SpecProblem, UnknownProblem
from shared.experiments.experiments import Experiment
from shared.lineage.pair import Arrays, Results
from shared.lineage.roles import Role, roles_of
from shared.records.artifacts import Manifest
from shared.records.releases import read_values
from shared.spec import split_name
from shared.stages.report import REPORT, ReportParameters
from shared.store import NotFoundError


class NotFinishedProblem(UnknownProblem):
    """It is planned, but does not exist yet."""

    title = "Not finished yet."


@dataclass(frozen=True)
class Lineage:
    """The named parts of one experiment and the artifacts that exist of them.

    `key` is the report stage's, `roles` maps roles to keys, `spec` is the user's document.
    """

    backend: Backend
    experiment: Experiment
    key: str
    roles: Mapping[str, str]
    parameters: ReportParameters

    @property
    def spec(self) -> Mapping[str, Any]:
        """The user's document."""
        return self.parameters.spec

    @property
    def corpora(self) -> Sequence[str]:
        """Names in the order of every model's evaluation."""
        return self.parameters.corpora or tuple(self.section("corpora"))

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the spec by name; empty when the user left it out."""
        entries = self.spec.get(name)
        return entries if isinstance(entries, Mapping) else {}

    def named(self, section: str, name: str, what: str) -> Mapping[str, Any]:
        """One entry of a section; a 404 problem that lists the names there are."""
        entries = self.section(section)
        if name not in entries:
            here = f"{self.experiment.id} has {listed(entries)}"
            raise UnknownProblem(detail=f"there is no {what} {name!r}: {here}")
        fields: Mapping[str, Any] = entries[name]
        return fields

    def finished(self, role: str) -> Manifest | None:
        """The manifest of a role; None while it is not finished, or when it was not planned."""
        key = self.roles.get(role)
        return None if key is None else self.manifest_or_none(key)

    def manifest_or_none(self, key: str) -> Manifest | None:
        """The manifest of a stage of this experiment, or None while it is not finished."""
        try:
            return self.backend.experiments.manifest(key)
        except NotFoundError:
            return None

    def manifest(self, role: str) -> Manifest:
        """The manifest of a role; a 404 problem that names the stage when it is not finished."""
        key = self.roles.get(role)
        if key is None:
            raise UnknownProblem(detail=f"{self.experiment.id} has no {role}")
        manifest = self.manifest_or_none(key)
        if manifest is None:
            raise NotFinishedProblem(detail=f"not finished yet: {self.title(key)}")
        return manifest

    def results(self, role: Role) -> Results:
        """The results of a role (see shared.lineage.pair.Source); empty while it is unfinished."""
        manifest = self.finished(role)
        return {} if manifest is None else manifest.results

    def arrays(self, role: Role, file: str) -> Arrays:
        """The arrays of an .npz file of a finished role."""
        return self.backend.files.arrays(self.manifest(role), file)

    def model(self, name: str) -> tuple[str, int | None]:
        """The model of the spec and the step of a member of the family (None: not a checkpoint).

        A 404 problem that lists the models there are.
        """
        if Role.model(name) not in self.roles:
            here = f"{self.experiment.id} has {listed(self.models)}"
            raise UnknownProblem(detail=f"there is no model {name!r}: {here}")
        return split_name(name)

    @property
    def models(self) -> list[str]:
        """All members of the family in the order of the spec, checkpoints before their model."""
        members = [role.names[0] for role in roles_of(self.roles, "model")]
        place = {name: number for number, name in enumerate(self.section("models"))}

        def order(name: str) -> tuple[int, bool, int]:
            model, step = split_name(name)
            return place[model], step is None, step or 0

        return sorted(members, key=order)

    def title(self, key: str) -> str:
        """What a stage is called, for people."""
        return self.experiment.plan.stage(key).title

    def unfinished(self, roles: Sequence[str]) -> list[str]:
        """Titles of the stages of these roles that are planned and not finished."""
        return [
            self.title(self.roles[role])
            for role in roles
            if role in self.roles and self.finished(role) is None
        ]


def open_lineage(backend: Backend, number: str) -> Lineage:
    """The lineage of an experiment; NotFoundError if there is no such experiment."""
    experiment = backend.experiments.get(number)
    report = next(stage for stage in experiment.plan.stages if stage.kind == REPORT.name)
    parameters = read_values(ReportParameters, report.parameters, f"the report of {number}")
    return Lineage(backend, experiment, report.key, report.inputs, parameters)


def listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Names in a sentence; "none" where there are none."""
    return ", ".join(names) if names else "none"


def chosen_tracking(lineage: Lineage, wanted: str | None, fitting: Sequence[str]) -> str:
    """The tracking that a request means: the one it names, or the only one that fits.

    A 404 problem when it does not fit, a 422 problem when several do and none is named.
    """
    if wanted is not None:
        lineage.named("tracking", wanted, "tracking")
        if wanted in fitting:
            return wanted
    if not fitting or wanted is not None:
        raise UnknownProblem(detail=f"no such features are tracked by {wanted or 'any tracking'}")
    if len(fitting) > 1:
        sentence = f"name one of the trackings {listed(fitting)}"
        raise SpecProblem(
            detail=f"tracking: {sentence}", errors=[{"field": "tracking", "message": sentence}]
        )
    return fitting[0]
