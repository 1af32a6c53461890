"""From the bytes of a spec to its plan, resolved against the uploads and the hub."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from shared.experiments.experiments import Experiments
from shared.experiments.states import Outline
from shared.experiments.survey import Survey
from shared.plan import Plan, make_plan
from shared.records.uploads import UploadStore
from shared.resolve.explainer import PROMPTS, endpoint_digest, is_configured
from shared.resolve.hub import Hub, HubUnreachable, ProvisionalHub
from shared.resolve.resolve import ResolvedSpec, resolve
from shared.resolve.resolved import PinnedLanguageModel
from shared.settings import Settings
from shared.spec import load_spec


class PlannedStageView(BaseModel):
    """A stage of a plan; `done` when its artifact exists already."""

    key: str
    kind: str
    title: str
    inputs: dict[str, str]
    tokens: int | None
    flops: float | None
    bytes: int | None
    done: bool


class Amount(BaseModel):
    """A sum over stages: `known` over all that have an estimate, `to_do` over those still to do.

    `unknown` is the number of stages without an estimate.
    """

    known: float
    to_do: float
    unknown: int


class PlanTotals(BaseModel):
    """A plan in numbers: token positions read, floating point operations, bytes of artifacts."""

    stages: int
    done: int
    tokens: Amount
    flops: Amount
    bytes: Amount


class PlanView(BaseModel):
    """What submitting a spec would do.

    The keys of a `provisional` plan will change: the hub could not be reached.
    """

    name: str
    provisional: bool
    totals: PlanTotals
    stages: list[PlannedStageView]


def language_model(settings: Settings) -> PinnedLanguageModel | None:
    """This server's language model as a resolved spec pins it; None without one."""
    if not is_configured(settings):
        return None
    return PinnedLanguageModel(
        endpoint=endpoint_digest(settings), label=settings.explain_label, prompts=PROMPTS
    )


def resolve_text(text: bytes, uploads: UploadStore, settings: Settings) -> ResolvedSpec:
    """The resolved spec of a text; SpecError when it cannot be run."""
    model = language_model(settings)
    return resolve(load_spec(text), uploads.find, Hub(), uploads.read_small, model)


def _amount(estimates: Iterable[tuple[float | None, bool]]) -> Amount:
    """The sums over (estimate, done) of each stage."""
    pairs = list(estimates)
    estimated = [(value, done) for value, done in pairs if value is not None]
    return Amount(
        known=sum(value for value, _ in estimated),
        to_do=sum(value for value, done in estimated if not done),
        unknown=len(pairs) - len(estimated),
    )


def _totals(stages: list[PlannedStageView]) -> PlanTotals:
    return PlanTotals(
        stages=len(stages),
        done=sum(stage.done for stage in stages),
        tokens=_amount((stage.tokens, stage.done) for stage in stages),
        flops=_amount((stage.flops, stage.done) for stage in stages),
        bytes=_amount((stage.bytes, stage.done) for stage in stages),
    )


def view_plan(plan: Plan, survey: Survey) -> PlanView:
    """A plan as the API shows it, with what exists already."""
    fields = {"key", "kind", "title", "inputs", "tokens", "flops", "bytes"}
    done, _ = survey.look([Outline.of(plan)])
    stages = [
        PlannedStageView(**stage.model_dump(include=fields), done=stage.key in done)
        for stage in plan.stages
    ]
    return PlanView(
        name=plan.name, provisional=plan.provisional, totals=_totals(stages), stages=stages
    )


def plan_locally(text: bytes, settings: Settings) -> PlanView:
    """The plan of a spec, made without a server; provisional when the hub cannot be reached.

    Raises SpecError when the spec cannot be run.
    """
    store = settings.open_store()
    uploads = UploadStore(store)
    try:
        resolved = resolve_text(text, uploads, settings)
    except HubUnreachable:
        spec, model = load_spec(text), language_model(settings)
        resolved = resolve(spec, uploads.find, ProvisionalHub(), uploads.read_small, model)
    return view_plan(make_plan(resolved), Experiments(store).survey)
