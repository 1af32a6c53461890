"""From the bytes of a spec to its plan, with what is known of uploads and the hub."""

from __future__ import annotations

from pydantic import BaseModel

from shared.artifacts import Artifacts
from shared.hub import Hub, HubUnreachable, ProvisionalHub
from shared.plan import Plan, make_plan
from shared.resolve import ResolvedSpec, resolve
from shared.settings import Settings
from shared.spec import load_spec
from shared.upload_store import UploadStore


class PlannedStageView(BaseModel):
    """A stage of a plan that was not submitted; `done` when its artifact exists already."""

    key: str
    kind: str
    title: str
    inputs: dict[str, str]
    tokens: int | None
    flops: float | None
    bytes: int | None
    done: bool


class PlanView(BaseModel):
    """What submitting a spec would do.

    `provisional` plans have keys that will change: the hub could not be asked.
    """

    name: str
    provisional: bool
    stages: list[PlannedStageView]


def resolve_text(text: bytes, uploads: UploadStore) -> ResolvedSpec:
    """The resolved spec of a text; SpecError when it cannot be run."""
    return resolve(load_spec(text), uploads.find, Hub(), uploads.read_small)


def view_plan(plan: Plan, artifacts: Artifacts) -> PlanView:
    """A plan as it is shown, with what exists already."""
    fields = {"key", "kind", "title", "inputs", "tokens", "flops", "bytes"}
    stages = [
        PlannedStageView(**stage.model_dump(include=fields), done=artifacts.exists(stage.key))
        for stage in plan.stages
    ]
    return PlanView(name=plan.name, provisional=plan.provisional, stages=stages)


def plan_locally(text: bytes, settings: Settings) -> PlanView:
    """The plan of a text without a server; provisional when the hub cannot be reached."""
    store = settings.open_store()
    uploads = UploadStore(store)
    try:
        resolved = resolve_text(text, uploads)
    except HubUnreachable:
        spec = load_spec(text)
        resolved = resolve(spec, uploads.find, ProvisionalHub(), uploads.read_small)
    return view_plan(make_plan(resolved), Artifacts(store))
