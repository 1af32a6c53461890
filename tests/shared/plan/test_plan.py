"""The plan: the DAG one would draw on paper, and keys that change exactly when they must."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.uploads import UploadInfo
from shared.plan import Plan, PlannedStage, make_plan, stage_key
from shared.plan.estimates import Size, harvest_pays
from shared.plan.graph import derived_seed
from shared.resolve.hub import ProvisionalHub
from shared.resolve.resolve import resolve
from shared.spec import load_spec, parse_spec
from shared.stages.kinds import KINDS
from tests.support.contracts import mistakes
from tests.support.specs import (
    COMMIT,
    EXAMPLES,
    LANGUAGE_MODEL,
    NAMES,
    UPLOADS,
    FakeHub,
    edited,
    resolved,
    values,
)


def example(name: str) -> Plan:
    """The plan of an example, without network."""
    spec = load_spec((EXAMPLES / name).read_bytes())
    return make_plan(resolve(spec, any_upload, ProvisionalHub(), language_model=LANGUAGE_MODEL))


def any_upload(name: str) -> UploadInfo:
    """An upload of every name, with ten megabytes of text."""
    return UploadInfo(name, name.encode().hex().ljust(64, "0"), "jsonl", 10_000_000, 5000)


def small(*changes: tuple[str, Any]) -> Plan:
    """The plan of the small spec, edited."""
    return make_plan(resolved(*changes))


def report(plan: Plan) -> PlannedStage:
    """The last stage."""
    assert plan.stages[-1].kind == "report"
    return plan.stages[-1]


def role(plan: Plan, name: str) -> PlannedStage:
    """The stage that plays a role in the report."""
    return plan.stage(report(plan).inputs[name])


def kinds(plan: Plan) -> Counter[str]:
    return Counter(stage.kind for stage in plan.stages)


# ------------------------------------------------------------------------------- the DAG


def test_the_demo_plans_to_the_dag_one_would_draw() -> None:
    plan = example("demo.yaml")
    assert kinds(plan) == {
        "corpus": 4,
        "tokenizer": 1,
        "tokens": 4,
        "initialise": 1,
        "train": 3,
        "evaluate": 5,  # four models and the untrained base
        "merge": 1,
        "sweep": 1,
        "dictionary": 8,  # four models, two seeds
        "evaluate_dictionary": 8,
        "encode": 8,
        "match": 13,  # four edges, one grandparent, four ceilings, four crossed
        "latent_scaling": 4,
        "contexts": 4,
        "track": 1,
        "explain": 4,  # by rules alone
        "explain_edge": 4,
        "report": 1,
    }
    assert not plan.provisional
    base, lua, stories = (role(plan, f"model/{name}") for name in ("base", "lua", "stories"))
    assert role(plan, "model/luastories").inputs == {"at_zero": stories.key, "at_one": lua.key}
    assert lua.inputs["model"] == stories.inputs["model"] == base.key
    assert plan.stage(base.inputs["model"]).kind == "initialise"
    assert role(plan, "untrained/base").inputs["model"] == base.inputs["model"]


def test_the_paper_plans_to_the_dag_one_would_draw() -> None:
    plan = example("paper.yaml")
    assert plan.provisional
    assert kinds(plan) == {
        "corpus": 3,
        "tokenizer": 1,
        "tokens": 3,
        "initialise": 1,
        "train": 3,
        "evaluate": 5,
        "merge": 1,
        "sweep": 1,
        "dictionary": 8,
        "evaluate_dictionary": 8,
        "encode": 8,
        "match": 13,
        "latent_scaling": 4,
        "contexts": 4,
        "track": 1,
        "explain": 4,
        "explain_edge": 4,
        "report": 1,
    }
    assert role(plan, "model/luastories").inputs["at_zero"] == role(plan, "model/lua").key
    sweep = role(plan, "sweep/tinystories-to-lua")
    assert sweep.inputs["at_zero"] == role(plan, "model/tinystories").key
    assert role(plan, "model/lua").parameters["learning_rate"] == 2e-5


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_every_stage_keeps_the_contract_of_its_kind(name: str) -> None:
    seen: set[str] = set()
    for stage in example(name).stages:
        kind = KINDS[stage.kind]
        loaded = kind.parameters.model_validate(stage.parameters)
        assert loaded.model_dump(mode="json") == stage.parameters
        assert set(stage.inputs.values()) <= seen, "inputs come first"
        assert mistakes(kind.inputs, stage.inputs) == []
        assert stage.key == stage_key(stage.kind, stage.version, stage.parameters, stage.inputs)
        assert (stage.service, stage.version) == (kind.service, kind.version)
        assert set(stage.light) <= set(stage.inputs)
        seen.add(stage.key)
    assert seen == {stage.key for stage in example(name).stages}


def test_every_finished_stage_but_the_report_is_needed_by_another() -> None:
    plan = example("demo.yaml")
    needed = {key for stage in plan.stages for key in stage.inputs.values()}
    assert [stage.kind for stage in plan.stages if stage.key not in needed] == ["report"]


def test_a_dictionary_is_trained_on_the_models_own_data_in_order() -> None:
    plan = small()
    merged = role(plan, "dictionary/mlp/merged/0")
    tokens = [merged.inputs[f"tokens/{number}"] for number in range(3)]
    assert tokens == [
        report(plan).inputs[f"tokens/{name}"] for name in ("english", "code", "tales")
    ]
    assert "tokens/1" not in role(plan, "dictionary/mlp/base/0").inputs


def test_all_models_are_evaluated_on_all_corpora_and_encode_the_same_stream() -> None:
    plan = small()
    everything = [report(plan).inputs[f"tokens/{name}"] for name in ("english", "code", "tales")]
    for name in ("untrained/base", "evaluate/base", "evaluate/merged"):
        inputs = role(plan, name).inputs
        assert [inputs[f"tokens/{number}"] for number in range(3)] == everything
    codes = [stage for stage in plan.stages if stage.kind == "encode"]
    streams = {tuple(stage.inputs[f"tokens/{number}"] for number in (0, 1)) for stage in codes}
    assert streams == {tuple(everything[:2])}


def ends(plan: Plan, name: str) -> list[tuple[str, str]]:
    """Model and dictionary of the two codes that a match compares."""
    match = role(plan, name)
    codes = [plan.stage(match.inputs[end]) for end in ("parent", "child")]
    return [(one.inputs["model"], one.inputs["dictionary"]) for one in codes]


def dictionaries(plan: Plan, *names: str) -> list[tuple[str, str]]:
    """Model and dictionary of {model}/{replicate} of the group mlp."""
    inputs = report(plan).inputs
    return [
        (inputs[f"model/{name.split('/')[0]}"], inputs[f"dictionary/mlp/{name}"]) for name in names
    ]


def test_edges_and_their_controls_compare_the_right_codes() -> None:
    plan = small()
    compared = {
        "match/main/left/merged": ("left/0", "merged/0"),
        "ancestor/main/base/merged": ("base/0", "merged/0"),
        "ceiling/main/left": ("left/0", "left/1"),
        "crossed/main/left/merged": ("left/0", "merged/1"),
    }
    for name, places in compared.items():
        assert ends(plan, name) == dictionaries(plan, *places)
        inputs = role(plan, name).inputs
        assert [
            inputs[f"{end}_dictionary"] for end in ("parent", "child")
        ] == [dictionary for _, dictionary in dictionaries(plan, *places)]  # fmt: skip


def test_shifts_are_for_edges_and_resamples_for_everything() -> None:
    plan = small(("tracking.main.controls", {"shifts": 7, "resamples": 50}))
    shifts = {
        name.split("/")[0]: plan.stage(key).parameters["shifts"]
        for name, key in report(plan).inputs.items()
        if plan.stage(key).kind == "match"
    }
    assert shifts == {"match": 7, "ancestor": 7, "ceiling": 0, "crossed": 0}
    matches = [stage for stage in plan.stages if stage.kind == "match"]
    assert {stage.parameters["resamples"] for stage in matches} == {50}


def test_controls_can_be_turned_off() -> None:
    off = {"seeds": False, "null": False, "latent_scaling": False, "resamples": 0}
    plan = small(("tracking.main.controls", off), ("tracking.main.ancestors", False))
    assert kinds(plan)["match"] == 4
    assert kinds(plan)["encode"] == 4
    assert kinds(plan)["latent_scaling"] == 0
    assert role(plan, "track/main").parameters["ancestors"] == []
    matches = [stage for stage in plan.stages if stage.kind == "match"]
    assert {(s.parameters["shifts"], s.parameters["resamples"]) for s in matches} == {(0, 0)}
    one_seed = small(("dictionaries.mlp.seeds", [3]))
    assert not [n for n in report(one_seed).inputs if n.startswith(("ceiling/", "crossed/"))]
    assert role(one_seed, "dictionary/mlp/base/0").parameters["replicate"] == 3


def test_crossed_matches_without_ceilings_encode_a_second_seed_of_children_only() -> None:
    plan = small(("tracking.main.controls", {"seeds": False, "crossed": True}))
    assert not [name for name in report(plan).inputs if name.startswith("ceiling/")]
    assert kinds(plan)["encode"] == 4 + 3  # base is nobody's child


def test_ancestors_are_tracked_in_the_order_of_their_inputs() -> None:
    plan = small()
    track = role(plan, "track/main")
    assert report(plan).parameters["models"] == {"main": ["base", "left", "right", "merged"]}
    assert track.parameters["ancestors"] == [{"parent": 0, "child": 3}]
    assert track.inputs["ancestor/0"] == report(plan).inputs["ancestor/main/base/merged"]


def test_latent_scaling_reads_both_models_their_dictionaries_and_the_match() -> None:
    plan = small()
    inputs = report(plan).inputs
    scaling = role(plan, "scaling/main/base/left")
    codes = role(plan, "match/main/base/left").inputs
    assert {name: scaling.inputs[name] for name in scaling.inputs if "tokens" not in name} == {
        "parent": inputs["model/base"],
        "child": inputs["model/left"],
        "parent_dictionary": inputs["dictionary/mlp/base/0"],
        "child_dictionary": inputs["dictionary/mlp/left/0"],
        "parent_codes": codes["parent"],
        "child_codes": codes["child"],
        "match": inputs["match/main/base/left"],
    }
    assert scaling.parameters["same_basis"] is True


def test_a_merge_of_two_roots_shares_no_basis_with_either() -> None:
    second = {
        "pretrain": {
            "corpora": ["english"],
            "seed": 5,
            "architecture": {
                "hidden": 32, "mlp": 64, "heads": 4, "kv_heads": 2, "layers": 2, "context": 64,
            },
        }
    }  # fmt: skip
    plan = small(("models.right", second))
    assert "parent_dictionary" not in role(plan, "match/main/right/merged").inputs
    assert role(plan, "scaling/main/right/merged").parameters["same_basis"] is False
    assert "parent_dictionary" in role(plan, "match/main/base/left").inputs


# ------------------------------------------------------------------------ init: parent


PARENT = ("dictionaries.mlp.init", "parent")


def test_a_childs_dictionary_starts_from_its_parents_of_the_same_replicate() -> None:
    plan = small(PARENT)
    inputs = report(plan).inputs
    starts = {"left": "base", "right": "base", "merged": "left"}
    for replicate in (0, 1):
        for child, parent in starts.items():
            dictionary = role(plan, f"dictionary/mlp/{child}/{replicate}")
            assert dictionary.inputs["start"] == inputs[f"dictionary/mlp/{parent}/{replicate}"]
            assert dictionary.parameters["init"] == "parent"
        root = role(plan, f"dictionary/mlp/base/{replicate}")
        assert "start" not in root.inputs
        assert root.parameters["init"] == "independent"


def test_warm_starts_have_their_own_ceiling_and_floor_for_every_model_with_children() -> None:
    plan = small(PARENT)
    inputs = report(plan).inputs
    for kind in ("warm", "unrelated"):
        assert [n.split("/")[2] for n in inputs if n.startswith(f"{kind}/")] == [
            "base", "left", "right",
        ]  # fmt: skip
    own = dictionaries(plan, "left/0")[0]
    first, again = ends(plan, "warm/main/left")
    assert first == own
    assert again[0] == own[0]
    started = plan.stage(again[1])
    assert started.inputs["start"] == own[1]
    assert started.parameters["replicate"] == 1000
    assert started.parameters["seed"] != plan.stage(own[1]).parameters["seed"]
    first, stranger = ends(plan, "unrelated/main/left")
    assert first == own
    untrained = plan.stage(stranger[0])
    assert untrained.kind == "initialise"
    trained = role(plan, "model/base").inputs["model"]
    assert untrained.key != trained
    assert untrained.parameters["architecture"] == plan.stage(trained).parameters["architecture"]
    assert plan.stage(stranger[1]).inputs["start"] == own[1]
    assert "parent_dictionary" not in role(plan, "unrelated/main/left").inputs
    assert "parent_dictionary" in role(plan, "warm/main/left").inputs


# --------------------------------------------------------------------------- checkpoints


ALONG = (
    ("models.base.pretrain.checkpoints", [2, 5]),
    ("models.left.finetune.checkpoints", [3]),
)


def test_checkpoints_are_models_between_a_model_and_its_parent() -> None:
    plan = small(*ALONG)
    names = ["base@2", "base@5", "base", "left@3", "right", "left", "merged"]
    assert sorted(report(plan).parameters["models"]["main"]) == sorted(names)
    edges = {tuple(edge) for edge in report(plan).parameters["edges"]}
    assert edges == {
        ("base@2", "base@5"),
        ("base@5", "base"),
        ("base", "left@3"),
        ("left@3", "left"),
        ("base", "right"),
        ("left", "merged"),
        ("right", "merged"),
    }
    train = role(plan, "model/base")
    assert train.parameters["checkpoints"] == [2, 5]
    first = role(plan, "model/base@2")
    assert (first.kind, first.parameters, first.inputs) == (
        "checkpoint", {"step": 2}, {"train": train.key},
    )  # fmt: skip
    assert role(plan, "evaluate/base@2").inputs["model"] == first.key
    assert role(plan, "dictionary/mlp/base@2/0").inputs["model"] == first.key
    assert {"match/main/base@2/base@5", "ancestor/main/base@2/base"} <= set(report(plan).inputs)
    assert role(plan, "match/main/base@2/base@5").inputs.keys() == {
        "parent", "child", "parent_dictionary", "child_dictionary",
    }  # fmt: skip


def test_a_group_may_name_checkpoints() -> None:
    plan = small(*ALONG, ("dictionaries.mlp.models", ["base@5", "base", "left"]))
    assert [name for name in report(plan).inputs if name.startswith("match/")] == [
        "match/main/base@5/base"
    ]
    assert "ancestor/main/base/left" in report(plan).inputs  # left@3 between them was left out


def test_long_families_compare_ancestors_only_when_asked() -> None:
    long = ("models.base.pretrain.checkpoints", list(range(1, 14)))
    assert not [name for name in report(small(long)).inputs if name.startswith("ancestor/")]
    asked = small(long, ("tracking.main.ancestors", True))
    pairs = [name for name in report(asked).inputs if name.startswith("ancestor/")]
    assert len(pairs) == 17 * 16 // 2 - 13 - 4 - 1  # all pairs but edges and the two fine-tunes


# ------------------------------------------- grids, crosscoders, dictionaries that exist


GRID = {
    "model": "left", "layer": 1, "variant": "topk", "features": [32, 64], "k": [4, 8, 16],
    "tokens": 5000, "evaluate_tokens": 500, "tracking_tokens": 1000,
}  # fmt: skip


def test_a_grid_trains_all_cells_of_a_seed_in_one_pass() -> None:
    plan = small(("stability.grid", GRID))
    sets = [stage for stage in plan.stages if stage.kind == "dictionary_set"]
    assert [len(stage.parameters["members"]) for stage in sets] == [6, 6]
    for one, number in zip(sets, (0, 1), strict=True):
        members = one.parameters["members"]
        shapes = [(member["features"], member["k"]) for member in members]
        assert shapes == [(f, k) for f in (32, 64) for k in (4, 8, 16)]
        common = ("hook", "layer", "tokens", "context", "batch", "seed", "replicate")
        assert all(len({str(member[name]) for member in members}) == 1 for name in common)
        assert members[0]["replicate"] == number
    cells = report(plan).parameters["cells"]["grid"]
    assert cells[1] == {"features": 32.0, "sparsity": 8.0, "k": 8.0}
    assert len(cells) == 6
    member = plan.stage(role(plan, "stability/grid/3/quality/1").inputs["dictionary"])
    assert (member.kind, member.parameters, member.inputs) == (
        "dictionary_member", {"member": 3}, {"set": sets[1].key},
    )  # fmt: skip
    ceiling = role(plan, "stability/grid/3/ceiling")
    codes = [plan.stage(ceiling.inputs[end]) for end in ("parent", "child")]
    assert [plan.stage(one.inputs["dictionary"]).inputs["set"] for one in codes] == [
        stage.key for stage in sets
    ]


def test_a_crosscoder_is_trained_for_every_edge_on_the_childs_data() -> None:
    group = {"variant": "crosscoder", "layer": 1, "features": 64, "k": 8, "tokens": 5000,
             "evaluate_tokens": 500}  # fmt: skip
    plan = small(("dictionaries.cross", group))
    inputs = report(plan).inputs
    names = [name for name in inputs if name.startswith("crosscoder/")]
    assert sorted(names) == [
        "crosscoder/cross/base/left",
        "crosscoder/cross/base/right",
        "crosscoder/cross/left/merged",
        "crosscoder/cross/right/merged",
    ]
    one = role(plan, "crosscoder/cross/right/merged")
    assert one.inputs["parent"] == inputs["model/right"]
    assert one.inputs["child"] == inputs["model/merged"]
    assert one.inputs["tokens/2"] == role(plan, "dictionary/mlp/merged/0").inputs["tokens/2"]
    assert not [name for name in inputs if name.startswith("dictionary/cross")]
    assert set(names) <= set(report(plan).light)


def test_dictionaries_that_exist_are_imported_and_tracked() -> None:
    known = {
        "base": {"hub": "someone/dictionaries", "path": "layer_1/base"},
        "left": {"upload": "left-dictionary"},
    }
    group = {"layer": 1, "import": known, "evaluate_tokens": 500}
    uploads = UPLOADS | {"left-dictionary": UploadInfo("left-dictionary", "d" * 64, "zip", 1000)}
    track = {"dictionary": "known", "corpora": ["english"], "tokens": 1000}
    spec = parse_spec(edited(("dictionaries.known", group), ("tracking.known", track)))
    plan = make_plan(resolve(spec, uploads.get, FakeHub()))
    base, left = (role(plan, f"dictionary/known/{name}/0") for name in ("base", "left"))
    assert base.parameters["revision"] == COMMIT
    assert (base.parameters["path"], base.uploads) == ("layer_1/base", ())
    assert (left.parameters["upload"], left.parameters["format"]) == ("d" * 64, "zip")
    assert left.uploads == ("d" * 64,)
    assert left.inputs == {"model": role(plan, "model/left").key}
    assert role(plan, "quality/known/left/0").inputs["dictionary"] == left.key
    assert "match/known/base/left" in report(plan).inputs
    assert not [name for name in report(plan).inputs if name.startswith("ceiling/known")]


@pytest.mark.parametrize(
    ("variant", "given", "expected"),
    [
        ("relu", {"l0": 20}, {"l0": 20.0, "revive": "ghost"}),
        ("gated", {"l1": 1e-2}, {"l1": 1e-2, "revive": "none"}),
        ("jumprelu", {"l0": 20, "bandwidth": 0.01}, {"l0": 20.0, "bandwidth": 0.01}),
        ("topk", {"k": 8}, {"k": 8, "revive": "aux", "aux_coefficient": 1 / 32}),
        ("batchtopk", {"k": 8, "revive": "none"}, {"k": 8, "revive": "none"}),
        ("matryoshka", {"k": 8}, {"k": 8, "prefixes": None}),
        ("matryoshka", {"k": 8, "prefixes": [50, 128]}, {"prefixes": [50, 128]}),
    ],
)
def test_a_variant_gets_what_it_reads_and_none_for_the_rest(
    variant: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    group = {k: v for k, v in values()["dictionaries"]["mlp"].items() if k != "l1"}
    plan = small(("dictionaries.mlp", {**group, "variant": variant, **given}))
    parameters = role(plan, "dictionary/mlp/left/0").parameters
    assert {name: parameters[name] for name in expected} == expected
    assert [parameters[name] for name in ("l1", "l0", "k")].count(None) == 2


def test_only_edges_between_models_with_dictionaries_are_matched() -> None:
    plan = small(("dictionaries.mlp.models", ["merged", "left"]))
    assert [name for name in report(plan).inputs if name.startswith("match/")] == [
        "match/main/left/merged"
    ]
    track = role(plan, "track/main")
    assert track.parameters["edges"] == [{"parent": 0, "child": 1}]
    assert report(plan).parameters["models"] == {"main": ["left", "merged"]}


def test_the_report_reads_only_the_results_of_what_is_large() -> None:
    last = report(small())
    light = {"model", "corpus", "tokens", "dictionary", "quality"}
    assert {name.split("/")[0] for name in last.light} == light
    assert not [n for n in last.inputs if n.split("/")[0] in light and n not in last.light]


def test_the_spec_in_the_report_is_the_pinned_spec_and_can_be_run_again() -> None:
    hub = {"hub": "nilq/small-lua-stack"}
    last = report(small(("corpora.code", hub)))
    again = parse_spec(last.parameters["spec"])
    assert again.corpora["code"].revision == "0123456789abcdef0123456789abcdef01234567"
    assert last.parameters["corpora"] == ["english", "code", "tales"]


def test_uploads_name_the_digests_that_a_stage_reads() -> None:
    plan = small()
    assert role(plan, "corpus/english").uploads == ("e" * 64,)
    assert role(plan, "corpus/tales").uploads == ()
    assert all(stage.uploads == () for stage in plan.stages if stage.kind != "corpus")


# -------------------------------------------------------------------------- explanations

ASKED = {"language_model": True, "features": 20, "requests": 500}


def test_rules_explain_every_feature_of_every_model_and_hold_them_against_children() -> None:
    plan = small(("explain", {}))
    new = {name for name in report(plan).inputs if name not in report(small()).inputs}
    assert new == {
        *(f"explain/main/rule/{model}" for model in ("base", "left", "right", "merged")),
        *(f"explained_edge/main/rule/base/{child}" for child in ("left", "right")),
        *(f"explained_edge/main/rule/{parent}/merged" for parent in ("left", "right")),
    }
    base = role(plan, "explain/main/rule/base")
    assert base.parameters["features"] is None
    assert base.parameters["language_model"] is None
    assert (base.parameters["model"], base.parameters["min_firings"]) == (0, 10)
    assert base.inputs["codes"] == role(plan, "contexts/main/base").inputs["codes"]
    assert base.inputs["track"] == role(plan, "track/main").key
    children = [role(plan, f"match/main/base/{child}").key for child in ("left", "right")]
    assert [base.inputs["match/0"], base.inputs["match/1"]] == children
    assert "match/0" not in role(plan, "explain/main/rule/merged").inputs
    edge = role(plan, "explained_edge/main/rule/left/merged")
    match = role(plan, "match/main/left/merged")
    assert edge.inputs["explain"] == role(plan, "explain/main/rule/left").key
    assert edge.inputs["match"] == match.key
    assert all(edge.inputs[end] == match.inputs[end] for end in ("parent", "child"))


def test_a_language_model_is_asked_beside_the_rules_about_some_features_of_each_status() -> None:
    plan = small(("explain", ASKED))
    by_rule, asked = (role(plan, f"explain/main/{m}/left") for m in ("rule", "language_model"))
    assert by_rule.key == role(small(("explain", {})), "explain/main/rule/left").key
    assert by_rule.inputs == asked.inputs
    assert asked.parameters["features"] == 20
    assert asked.parameters["seed"] == by_rule.parameters["seed"]
    assert asked.parameters["language_model"] == {
        "endpoint": LANGUAGE_MODEL.endpoint,
        "label": LANGUAGE_MODEL.label,
        "prompts": LANGUAGE_MODEL.prompts,
        "requests": 500,
        "tokens": None,
    }
    edge = role(plan, "explained_edge/main/language_model/base/left")
    assert edge.inputs["explain"] == role(plan, "explain/main/language_model/base").key


def test_a_language_models_stage_is_estimated_within_its_budget() -> None:
    free = role(small(("explain", {"language_model": True})), "explain/main/language_model/base")
    assert "at most 5,800 requests" in free.title  # 4 statuses, 50 features, 29 requests each
    assert (free.tokens or 0) > 5800 * 400
    tight = role(small(("explain", {**ASKED, "tokens": 9000})), "explain/main/language_model/base")
    assert "at most 500 requests" in tight.title
    assert tight.tokens == 9000


def test_explanations_can_be_asked_for_in_some_trackings_only() -> None:
    second = ("tracking.second", {"dictionary": "mlp", "corpora": ["code"], "tokens": 500})
    plan = small(second, ("explain", {"tracking": ["second"]}))
    trackings = {n.split("/")[1] for n in report(plan).inputs if n.startswith("explain")}
    assert trackings == {"second"}


def test_explanations_change_no_key_but_the_reports() -> None:
    before, after = small(), small(("explain", ASKED))
    assert {stage.key for stage in before.stages[:-1]} < {stage.key for stage in after.stages}
    assert report(before).key != report(after).key


# ---------------------------------------------------------------------------------- keys


def test_renaming_everything_changes_no_key_but_the_reports() -> None:
    renamed = {name: f"my-{name}" for name in NAMES}
    other = make_plan(resolve(parse_spec(values(**renamed)), UPLOADS.get, FakeHub()))
    assert [stage.key for stage in other.stages[:-1]] == [s.key for s in small().stages[:-1]]
    assert report(other).key != report(small()).key


def downstream(plan: Plan, titles: set[str]) -> set[str]:
    """Titles of the stages of these titles and of all that need them."""
    reached = {stage.key for stage in plan.stages if stage.title in titles}
    for stage in plan.stages:
        if reached & set(stage.inputs.values()):
            reached.add(stage.key)
    return {stage.title for stage in plan.stages if stage.key in reached}


@pytest.mark.parametrize(
    ("path", "value", "first"),
    [
        ("models.left.finetune.learning_rate", 1e-3, {"train left"}),
        ("models.left.finetune.seed", 5, {"train left"}),
        ("models.base.pretrain.architecture.norm_eps", 1e-5, {"initialise base"}),
        ("models.base.pretrain.seed", 5, {"initialise base", "train base"}),
        ("models.merged.merge.t", 0.25, {"merge left (t = 0) and right (t = 1) at t = 0.5"}),
        ("corpora.code.fraction", 0.5, {"read code"}),
        ("corpora.tales.max_tokens", 90_000, {"read tales", "tokenise tales"}),
        ("tokenizer.train.vocab_size", 600, {"train tokenizer"}),
        ("sweeps.between.steps", 6, {"sweep from left (t = 0) to right (t = 1)"}),
        (
            "dictionaries.mlp.l1",
            {"left": 2e-3, "default": 1e-3},
            {"train dictionary mlp of left, seed 0", "train dictionary mlp of left, seed 1"},
        ),
    ],
)
def test_a_change_changes_the_keys_downstream_and_no_other(
    path: str, value: Any, first: set[str]
) -> None:
    before, after = small(), small((path, value))
    assert len(before.stages) == len(after.stages)
    changed = {
        old.title
        for old, new in zip(before.stages, after.stages, strict=True)
        if old.key != new.key
    }
    assert first <= changed
    assert changed == downstream(before, first) | {"write report"}


def test_another_seed_changes_everything_that_is_random() -> None:
    before, after = small(), small(("seed", 1))
    assert not {stage.key for stage in before.stages} & {stage.key for stage in after.stages}


def test_descriptions_and_estimates_are_no_part_of_a_key() -> None:
    stage = small().stages[0]
    other = stage.model_copy(update={"title": "x", "tokens": 1, "light": ("a",)})
    assert other.key == stage_key(other.kind, other.version, other.parameters, other.inputs)


def test_a_key_does_not_depend_on_the_order_of_fields() -> None:
    first = stage_key("train", 1, {"a": 1, "b": 2.0}, {"x": "k", "y": "l"})
    assert first == stage_key("train", 1, {"b": 2.0, "a": 1}, {"y": "l", "x": "k"})
    assert first != stage_key("train", 2, {"a": 1, "b": 2.0}, {"x": "k", "y": "l"})
    assert first != stage_key("train", 1, {"a": 1, "b": 2.0}, {"x": "l", "y": "k"})


def test_the_same_stage_from_two_places_is_there_once() -> None:
    twin = {"upload": "code-file", "max_tokens": 100_000, "validation": 0.1}
    twins = {"finetune": {"parent": "base", "corpora": ["twin"]}}
    plan = small(("corpora.twin", twin), ("models.copy", twins))
    assert role(plan, "corpus/twin") == role(plan, "corpus/code")
    assert role(plan, "model/copy").key == role(plan, "model/left").key
    keys = [stage.key for stage in plan.stages]
    assert len(keys) == len(set(keys))


@given(st.integers(0, 2**31 - 1), st.integers(0, 100))
def test_derived_seeds_fit_in_32_bits_and_differ(seed: int, number: int) -> None:
    found = derived_seed(seed, number)
    assert 0 <= found < 2**32
    assert found == derived_seed(seed, number)
    assert found != derived_seed(seed, number + 1)


def test_models_share_an_initialisation_only_when_asked() -> None:
    def seeds(plan: Plan) -> list[int]:
        roles = [f"dictionary/mlp/{m}/{r}" for m in ("base", "left", "merged") for r in (0, 1)]
        return [role(plan, name).parameters["seed"] for name in roles]

    assert len(set(seeds(small()))) == 6
    shared = seeds(small(("dictionaries.mlp.init", "shared")))
    assert len(set(shared)) == 2
    assert shared == shared[:2] * 3


# ----------------------------------------------------------------------------- estimates


def test_the_papers_model_has_35_million_parameters() -> None:
    spec = load_spec((EXAMPLES / "paper.yaml").read_bytes())
    base = spec.models["babypython"].pretrain
    assert base is not None
    assert Size(base.architecture, 32_000).parameters == pytest.approx(35.1e6, rel=2e-3)


def test_training_is_estimated_at_six_flops_a_parameter_and_token() -> None:
    train = role(small(), "model/left")
    # 100 000 tokens; attention 32 x (32 + 16) x 2, MLP 3 x 32 x 64, two layers
    assert train.tokens == 100_000
    active = 2 * (2 * 32 * (32 + 16) + 3 * 32 * 64) + 512 * 32
    assert train.flops == 6.0 * active * 100_000
    limited = small(("models.left.finetune.max_steps", 3), ("models.left.finetune.batch", 2))
    assert role(limited, "model/left").tokens == 3 * 2 * 32


def test_what_cannot_be_known_is_none() -> None:
    plan = small(("corpora.code", {"hub": "nilq/small-lua-stack"}))
    assert role(plan, "model/left").tokens is None
    assert role(plan, "model/left").flops is None
    assert role(plan, "model/base").flops is not None


def test_harvesting_is_chosen_where_the_model_costs_more_than_the_disk() -> None:
    def harvests(*changes: tuple[str, Any]) -> int:
        return kinds(small(*changes))["harvest"]

    wide = ("models.base.pretrain.architecture", {
        "hidden": 1024, "mlp": 1024, "heads": 8, "kv_heads": 8, "layers": 12, "context": 64
    })  # fmt: skip
    deep = ("dictionaries.mlp.layer", 11)
    assert harvests() == 0
    assert harvests(wide, deep) == 4
    assert harvests(wide, deep, ("dictionaries.mlp.seeds", [0])) == 0
    assert harvests(wide, deep, ("dictionaries.mlp.harvest", "stream")) == 0
    assert harvests(("dictionaries.mlp.harvest", "shards")) == 4
    plan = small(("dictionaries.mlp.harvest", "shards"))
    shared = {role(plan, f"dictionary/mlp/left/{r}").inputs["harvest"] for r in (0, 1)}
    assert [plan.stage(key).kind for key in shared] == ["harvest"]


def test_harvests_that_would_fill_a_disk_are_streamed() -> None:
    paper = load_spec((EXAMPLES / "paper.yaml").read_bytes())
    base = paper.models["babypython"].pretrain
    assert base is not None
    assert not harvest_pays(paper.dictionaries["mlp"], Size(base.architecture, 32_000))


def test_a_plan_survives_a_round_trip_through_json() -> None:
    plan = small()
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    with pytest.raises(KeyError):
        plan.stage("0" * 64)


def test_the_largest_spec_plans_in_seconds() -> None:
    chain = {
        f"m{n}": {
            "finetune": {"parent": f"m{n - 1}" if n else "base", "corpora": ["code"], "seed": n}
        }
        for n in range(120)
    }
    models = values()["models"] | chain
    plan = make_plan(resolve(parse_spec(edited(("models", models))), UPLOADS.get, FakeHub()))
    assert kinds(plan)["dictionary"] == 2 * 124
