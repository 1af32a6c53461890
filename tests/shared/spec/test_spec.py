"""The spec: what is accepted, and one sentence for everything that is not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.spec import (
    SPEC_LIMIT,
    distribution,
    family,
    lineage_edges,
    load_spec,
    parse_spec,
    spec_schema,
    split_name,
    topological,
)
from shared.spec.dictionaries import Dictionaries
from shared.spec.errors import SpecError, SpecErrors
from tests.support.specs import EXAMPLES, NAMES, REMOVED, TEMPLATE, edited, spec, values

OTHER_SHAPE = {
    "pretrain": {
        "corpora": ["english"],
        "architecture": {"hidden": 64, "mlp": 64, "heads": 4, "kv_heads": 2, "layers": 2},
    }
}
MERGE = "models.merged.merge"
SHAPE = "models.base.pretrain.architecture"
BAD = [
    (f"{MERGE}.t", 1.5, "must be between 0 and 1, not 1.5"),
    (f"{MERGE}.t", -0.1, "must be between 0 and 1, not -0.1"),
    (f"{MERGE}.t", "half", "must be a number, not 'half'"),
    (f"{MERGE}.t", True, "must be a number, not True"),
    (f"{MERGE}.t", float("nan"), "must be a finite number, not nan"),
    (f"{MERGE}.t", REMOVED, "is missing"),
    (f"{MERGE}.method", "magic", "must be slerp, not 'magic'"),
    (f"{MERGE}.method", "ties", "must be slerp, not 'ties'"),
    (f"{MERGE}.at_one", "left", "must be another model than at_zero, both are left"),
    (f"{SHAPE}.hidden", -5, "must be between 1 and 1,048,576, not -5"),
    (f"{SHAPE}.hidden", 32.5, "must be a whole number, not 32.5"),
    (f"{SHAPE}.heads", 5, "must divide hidden (32), 5 does not"),
    (f"{SHAPE}.kv_heads", 3, "must divide heads (4), 3 does not"),
    (f"{SHAPE}.context", 31, "has a context of 31 tokens, shorter than the block of 32"),
    (f"{SHAPE}.vocab_size", 1024, "must equal the tokenizer's (512), not 1024"),
    ("tokenizer.vocab_size", 1024, "must equal tokenizer.train.vocab_size (512), not 1024"),
    ("corpora.code.fraction", 0, "must be above 0 and at most 1, not 0.0"),
    ("corpora.code.validation", 0.6, "must be above 0 and at most 0.5, not 0.6"),
    ("corpora.code.max_tokens", -1, "must be between 1 and 10,000,000,000,000, not -1"),
    ("corpora.code", {}, "takes exactly one of hub, upload, builtin; it has none of them"),
    ("corpora.code.hub", "a/b", "takes exactly one of hub, upload, builtin; it has hub and upload"),
    ("corpora.code", {"hub": "../../etc/passwd"}, "must be the name of a hub repository"),
    ("corpora.code", {"hub": "https://evil.example/x"}, "must be the name of a hub repository"),
    ("corpora.code", {"upload": "/etc/passwd"}, "must be the name of an upload"),
    ("corpora.code.split", "test", "belongs to a corpus from the hub"),
    ("corpora.code", "file.txt", "must have fields, not be 'file.txt'"),
    ("models.left.finetune.parent", "bose", "there is no model bose; did you mean base?"),
    ("models.left.finetune.epoch", 3, "is not a field here; did you mean epochs?"),
    ("models.left.finetune.batch", 0, "must be between 1 and 1,048,576, not 0"),
    ("models.left.finetune.betas", [0.9], "is missing"),
    ("models.left.merge", {"at_zero": "base", "at_one": "right", "t": 1}, "takes exactly one of"),
    ("models", {}, "must have at least one model"),
    ("sweeps.between.steps", 1, "must be between 2 and 1,001, not 1"),
    ("sweeps.between.reference", "Base", "there is no model Base; did you mean base?"),
    ("sweeps.between.evaluate_on", ["code", "code"], "names code twice"),
    ("sweeps.between.evaluate_on", [], "must not be empty"),
    ("dictionaries.mlp.layer", 2, "2 is too high, base has the layers 0 to 1"),
    ("dictionaries.mlp.context", 65, "must be at most the 64 tokens that base reads, not 65"),
    ("dictionaries.mlp.expansion", 4, "takes exactly one of expansion, features; it has"),
    ("dictionaries.mlp.models", "some", "must be all or a list of models, not 'some'"),
    ("dictionaries.mlp.models", ["left", "rihgt"], "there is no model rihgt; did you mean right?"),
    ("dictionaries.mlp.l1", {"left": 1e-3}, "has no number for base, right, merged and no default"),
    ("dictionaries.mlp.l1", {"lef": 1e-3}, "there is no model lef; did you mean left?"),
    ("dictionaries.mlp.l1", REMOVED, "is missing: relu takes l1 or l0"),
    ("dictionaries.mlp.k", 5, "k: relu takes l1 or l0, not k"),
    ("dictionaries.mlp.l0", 5, "l0: relu takes l1 or l0, not both"),
    ("dictionaries.mlp.variant", "topk", "l1: topk takes k, not l1"),
    ("dictionaries.mlp.variant", "top", "must be relu, batchtopk, crosscoder, gated, jumprel"),
    ("dictionaries.mlp.hook", "mlp", "must be mlp_post, mlp_out, attn_out, resid_pre or resid_po"),
    ("dictionaries.mlp.tokens", REMOVED, "tokens: is missing"),
    ("dictionaries.mlp.prefixes", [64, 128], "belongs to matryoshka, not to relu"),
    ("dictionaries.mlp.bandwidth", 0.1, "belongs to jumprelu, not to relu"),
    ("dictionaries.mlp.aux_coefficient", 0.1, "belongs to batchtopk, crosscoder, matryoshka and"),
    ("dictionaries.mlp.revive", "aux", "revive: relu takes ghost, resample or none, not aux"),
    ("dictionaries.mlp.models", ["base@3"], "there is no model base@3; did you mean base?"),
    ("dictionaries.mlp.models", ["base@x"], "must be the name of a model, or of a checkpoint as"),
    ("dictionaries.mlp.import", {"left": {}}, "takes exactly one of hub, upload; it has none of"),
    (
        "dictionaries.mlp.import",
        {"left": {"hub": "a/b"}},
        "does not belong to dictionaries that",
    ),
    ("models.base.pretrain.checkpoints", [5, 5], "must ascend, each step higher than the one bef"),
    ("models.base.pretrain.checkpoints", [0], "must be between 1 and 10,000,000,000,000, not 0"),
    ("models.left.finetune.parent", "base@5", "must be at most 64 letters, digits, - and _"),
    ("tracking.main.controls", {"shifts": 0}, "must be between 1 and 1,000, not 0"),
    ("dictionaries.mlp.seeds", [0, 0], "names 0 twice"),
    ("tracking.main.dictionary", "mpl", "there is no dictionary mpl; did you mean mlp?"),
    ("tracking.main.controls", {"seeds": "yes"}, "must be true or false, not 'yes'"),
    ("name", "two words", "must be at most 64 letters, digits, - and _, not 'two words'"),
    ("name", 7, "must be text, not 7; put it in quotes"),
    ("version", 2, "must be 1, not 2"),
    ("swoops", {}, "is not a field here; did you mean sweeps?"),
    ("block", 1 << 40, "must be between 2 and 1,048,576, not 1099511627776"),
    ("explain", {"features": 0}, "explain.features: must be between 1 and 10,000, not 0"),
    ("explain", {"requests": 9}, "requests: belongs to language_model: true; rules cost nothing"),
    ("explain", {"tokens": 9}, "tokens: belongs to language_model: true; rules cost nothing"),
    ("explain", {"tracking": ["mian"]}, "tracking.0: there is no tracking mian; did you mean main"),
    ("explain", {"tracking": []}, "explain.tracking: must not be empty"),
    ("explain", True, "explain: must have fields, not be True"),
]
SETTINGS = {"endpoint": "URL", "url": "URL", "model": "MODEL", "key": "KEY", "api_key": "KEY"}


def problems(values: Any) -> list[str]:
    """What parse_spec says, a line for each problem."""
    with pytest.raises(SpecError) as caught:
        parse_spec(values)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_the_examples_are_valid_and_survive_a_round_trip_through_json(name: str) -> None:
    loaded = load_spec((EXAMPLES / name).read_bytes())
    dumped = loaded.model_dump(mode="json")
    assert load_spec(json.dumps(dumped)) == loaded
    assert load_spec(loaded.model_dump_json(exclude_none=True).encode()) == loaded


def test_the_paper_spec_has_the_numbers_of_the_paper() -> None:
    paper = load_spec((EXAMPLES / "paper.yaml").read_bytes())
    base = paper.models["babypython"].pretrain
    assert base is not None
    assert (base.learning_rate, base.epochs, base.batch, paper.block) == (6e-4, 3, 64, 256)
    tuned = paper.models["lua"].finetune
    assert tuned is not None
    assert (tuned.learning_rate, tuned.warmup_steps, tuned.weight_decay) == (2e-5, 500, 0.01)
    merge = paper.models["luastories"].merge
    assert merge is not None
    assert (merge.at_zero, merge.at_one, merge.t) == ("lua", "tinystories", 0.58)
    mlp = paper.dictionaries["mlp"]
    assert [mlp.l1_of(name) for name in paper.models] == [3e-4, 3e-4, 3e-3, 3e-4]
    assert {corpus.fraction for corpus in paper.corpora.values()} == {0.15}


@pytest.mark.parametrize(("path", "value", "sentence"), BAD)
def test_a_mistake_is_one_sentence_that_names_the_field(
    path: str, value: Any, sentence: str
) -> None:
    (problem,) = problems(edited((path, value)))
    assert problem.startswith(path.split(".")[0])
    assert sentence in problem
    assert "\n" not in problem
    assert "pydantic" not in problem
    assert "http" not in problem.split("not ")[0]


def test_the_path_of_a_mistake_is_the_dotted_path_of_its_field() -> None:
    assert problems(edited((f"{MERGE}.t", 1.5))) == [
        "models.merged.merge.t: must be between 0 and 1, not 1.5"
    ]


@pytest.mark.parametrize(
    "path",
    [
        "models.base.pretrain.corpora",
        "models.left.finetune.corpora",
        "tokenizer.train.corpora",
        "sweeps.between.evaluate_on",
        "tracking.main.corpora",
    ],
)
def test_an_unknown_corpus_is_named_with_the_closest_known_one(path: str) -> None:
    (problem,) = problems(edited((path, ["code", "englsh"])))
    assert problem == f"{path}.1: there is no corpus englsh; did you mean english?"


def test_base_model_is_answered_with_the_two_fields_that_name_the_direction() -> None:
    merge = {"base_model": "left", "t": 0.5}
    assert problems(edited((MERGE, merge))) == [
        f"{MERGE}.base_model: does not say which parent is t = 0; "
        "name the parents by at_zero and at_one"
    ]


def test_a_cycle_is_shown_from_ancestor_to_descendant() -> None:
    assert problems(
        edited(("models.base", {"finetune": {"parent": "merged", "corpora": ["code"]}}))
    )[0] in (
        "models.base: is its own ancestor (base -> left -> merged -> base)",
        "models.base: is its own ancestor (base -> right -> merged -> base)",
    )
    own = {"finetune": {"parent": "left", "corpora": ["code"]}}
    assert problems(edited(("models.left", own))) == [
        "models.left: is its own ancestor (left -> left)"
    ]


def test_models_of_different_shapes_are_not_merged_or_swept() -> None:
    found = problems(
        edited(
            ("models.other", OTHER_SHAPE),
            ("models.child", {"finetune": {"parent": "other", "corpora": ["code"]}}),
            (f"{MERGE}.at_one", "child"),
            ("sweeps.between.at_zero", "other"),
        )
    )
    assert found == [
        "models.merged.merge: left and child have different shapes (hidden 32 against 64)",
        "sweeps.between: other and right have different shapes (hidden 64 against 32)",
    ]


def test_several_problems_are_reported_together_one_a_line() -> None:
    with pytest.raises(SpecErrors) as caught:
        spec((f"{MERGE}.t", 2), ("block", 0))
    assert str(caught.value).splitlines() == [str(error) for error in caught.value.errors]
    assert {error.path for error in caught.value.errors} == {f"{MERGE}.t", "block"}


@pytest.mark.parametrize(("field", "setting"), SETTINGS.items())
def test_whom_to_ask_is_a_setting_of_the_server_and_never_part_of_a_spec(
    field: str, setting: str
) -> None:
    (problem,) = problems(edited(("explain", {field: "http://user:secret@host/v1"})))
    assert problem.startswith(f"explain.{field}: is a setting of the server")
    assert f"(LINEAMENT_EXPLAIN_{setting})" in problem
    assert "secret" not in problem


def test_features_are_explained_only_where_they_are_tracked() -> None:
    assert problems(edited(("explain", {}), ("tracking", {}))) == [
        "explain: needs a tracking, whose features it explains; there is none"
    ]


def test_explanations_have_defaults_and_a_spec_without_them_does_not_mention_them() -> None:
    asked = spec(("explain", {})).explain
    assert asked is not None
    assert (asked.features, asked.language_model, asked.tracking) == (50, False, None)
    assert "explain" not in spec().model_dump(mode="json")
    assert "explain" not in spec().model_dump()


def test_seeds_as_a_control_need_two_seeds() -> None:
    assert spec(("dictionaries.mlp.seeds", [0])).tracking["main"].controls.seeds is None
    assert problems(
        edited(("dictionaries.mlp.seeds", [0]), ("tracking.main.controls", {"seeds": True}))
    ) == ["tracking.main.controls.seeds: needs two numbers in dictionaries.mlp.seeds, not 1"]


CROSS = {"variant": "crosscoder", "features": 64, "k": 8, "tokens": 5000}
GRID = {"model": "left", "variant": "topk", "features": [32, 64], "k": [4, 8], "tokens": 5000}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k": 65}, "k: must be at most the 64 features, not 65"),
        ({"l1": 1e-3}, "l1: crosscoder takes k, not l1"),
        ({"seeds": [0, 1]}, "seeds: has one number for a crosscoder"),
        ({"init": "parent"}, "init: must be independent for a crosscoder, not parent"),
        ({"sparsity_warmup_steps": 5}, "sparsity_warmup_steps: belongs to l1 and l0; crosscoder"),
        ({"models": ["left", "right"]}, "models: have no parent and child for a crosscoder"),
        ({"harvest": "shards"}, "harvest: must be auto or stream for a crosscoder"),
    ],
)
def test_a_mistake_in_a_crosscoder_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    (problem,) = problems(edited(("dictionaries.cross", {**CROSS, **changes})))
    assert problem.startswith(f"dictionaries.cross.{sentence}")


def test_a_crosscoder_is_neither_tracked_nor_imported() -> None:
    assert problems(
        edited(("dictionaries.cross", CROSS), ("tracking.main.dictionary", "cross"))
    ) == [
        "tracking.main.dictionary: cross is a crosscoder, which compares parent and child by itself"
    ]
    group = {"variant": "crosscoder", "import": {"left": {"upload": "x"}}}
    assert problems(edited(("dictionaries.cross", group))) == [
        "dictionaries.cross.import: a crosscoder is trained here, not imported"
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "lefd"}, "model: there is no model lefd; did you mean left?"),
        ({"corpora": ["cod"]}, "corpora.0: there is no corpus cod; did you mean code?"),
        ({"layer": 2}, "layer: 2 is too high, left has the layers 0 to 1"),
        ({"variant": "crosscoder"}, "variant: a crosscoder has two models, a grid has one"),
        ({"variant": "relu"}, "k: relu takes l1 or l0, not k"),
        ({"k": [4, 33]}, "k: must be at most the 32 features of the smallest, not 33"),
        (
            {"variant": "relu", "k": REMOVED, "l0": [40]},
            "l0: must be below the 32 features of the smallest, not 40",
        ),
        ({"seeds": [1]}, "seeds: needs two numbers, which are compared"),
        ({"features": []}, "features: must not be empty"),
        ({"tokens": REMOVED}, "tokens: is missing"),
        ({"features": [*range(40, 80)], "k": [*range(1, 9)]}, "features: and sparsities make 320"),
    ],
)
def test_a_mistake_in_a_grid_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    grid = {k: v for k, v in {**GRID, **changes}.items() if v is not REMOVED}
    (problem,) = problems(edited(("stability.grid", grid)))
    assert problem.startswith(f"stability.grid.{sentence}")


def test_the_cells_of_a_grid_are_sizes_times_sparsities() -> None:
    grid = spec(("stability.grid", GRID)).stability["grid"]
    assert grid.cells == [(32, 4), (32, 8), (64, 4), (64, 8)]
    assert (grid.sparsity, grid.seeds, grid.reviving) == ("k", (0, 1), "aux")


def test_dead_features_are_treated_as_suits_the_variant() -> None:
    group = values()["dictionaries"]["mlp"]
    assert spec().dictionaries["mlp"].reviving == "ghost"
    gated = spec(("dictionaries.mlp", {**group, "variant": "gated"})).dictionaries["mlp"]
    assert gated.reviving == "none"


def test_checkpoints_are_members_of_the_family_between_a_model_and_its_parent() -> None:
    grown = spec(
        ("models.base.pretrain.checkpoints", [2, 5]), ("models.left.finetune.checkpoints", [3])
    )
    members = family(grown)
    parents = {name: member.parents for name, member in members.items()}
    assert parents == {
        "base@2": (),
        "base@5": ("base@2",),
        "base": ("base@5",),
        "left@3": ("base",),
        "left": ("left@3",),
        "right": ("base",),
        "merged": ("left", "right"),
    }
    assert list(members).index("base@5") < list(members).index("base")
    assert (members["left@3"].model, members["left@3"].step) == ("left", 3)
    assert split_name("left@3") == ("left", 3)
    assert split_name("left") == ("left", None)
    assert distribution(grown, "left@3") == ("english", "code")
    assert topological(grown)[0] == "base"


def test_a_checkpoint_lies_before_the_last_step() -> None:
    assert problems(
        edited(
            ("models.left.finetune.max_steps", 10), ("models.left.finetune.checkpoints", [3, 10])
        )
    ) == ["models.left.finetune.checkpoints: must be below the last step (10), 10 is not"]


def test_checkpoints_count_as_models() -> None:
    many = [(f"models.{name}.finetune.checkpoints", [*range(1, 65)]) for name in ("left", "right")]
    assert problems(edited(*many)) == [
        "models: make 132 with their checkpoints, at most 128 are possible"
    ]


def test_an_imported_model_needs_corpora_before_it_gets_a_dictionary() -> None:
    imported = {"import": {"hub": "roneneldan/TinyStories-1M"}}
    assert problems(edited(("models.big", imported))) == [
        "dictionaries.mlp.models: big has no corpora to train a dictionary on; "
        "name its data in models.big.import.corpora"
    ]
    imported["import"]["corpora"] = ["tales"]  # type: ignore[assignment]
    assert distribution(spec(("models.big", imported)), "big") == ("tales",)


def test_a_models_own_data_are_the_corpora_of_its_ancestors_and_itself() -> None:
    family = spec()
    assert distribution(family, "base") == ("english",)
    assert distribution(family, "left") == ("english", "code")
    assert distribution(family, "merged") == ("english", "code", "tales")


def test_edges_run_from_parents_to_children_in_topological_order() -> None:
    shuffled = values()
    shuffled["models"] = dict(reversed(shuffled["models"].items()))
    family = parse_spec(shuffled)
    order = topological(family)
    assert all(order.index(parent) < order.index(child) for parent, child in lineage_edges(family))
    assert set(lineage_edges(family)) == {
        ("base", "left"),
        ("base", "right"),
        ("left", "merged"),
        ("right", "merged"),
    }


def test_a_lineage_of_nested_merges_does_not_take_exponential_time() -> None:
    models = values()["models"]
    names = ["left", "right"]
    for number in range(100):
        merge = {"at_zero": names[-2], "at_one": names[-1], "t": 0.5}
        names.append(f"m{number}")
        models[names[-1]] = {"merge": merge}
    began = time.monotonic()
    family = spec(("models", models))
    assert sorted(distribution(family, names[-1])) == ["code", "english", "tales"]
    assert time.monotonic() - began < 5


# ---------------------------------------------------------------------------------- text


def refused(text: str | bytes) -> str:
    """What load_spec says about a text."""
    with pytest.raises(SpecError) as caught:
        load_spec(text)
    return str(caught.value)


def test_numbers_and_words_mean_what_yaml_1_2_says() -> None:
    text = TEMPLATE.substitute(NAMES | {"base": "no", "left": "2024-01-01"})
    loaded = load_spec(text.replace("l1: 1e-3", "l1: 1e-3, dead_after_steps: 1e3"))
    assert set(loaded.models) == {"no", "2024-01-01", "right", "merged"}
    assert loaded.dictionaries["mlp"].l1 == 1e-3
    assert loaded.dictionaries["mlp"].dead_after_steps == 1000


def test_json_and_yaml_give_the_same_spec() -> None:
    assert load_spec(json.dumps(values())) == load_spec(TEMPLATE.substitute(NAMES)) == spec()


def test_a_spec_of_ten_megabytes_is_refused_before_it_is_parsed() -> None:
    text = TEMPLATE.substitute(NAMES) + "#" * 10_000_000
    began = time.monotonic()
    assert refused(text) == refused(text.encode())
    assert refused(text).startswith("spec: is too large: 10,00")
    assert time.monotonic() - began < 0.5
    assert load_spec(TEMPLATE.substitute(NAMES) + "#" * (SPEC_LIMIT - 5000)) == spec()


BILLION_LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BILLION_LAUGHS, "line 1: anchors and aliases are not allowed"),
        ("a: *a", "line 1: anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: tags are not allowed"),
        ("!!binary aGk=", "tags are not allowed"),
        ("[" * 500_000, "nested deeper than 20 levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested deeper than 20 levels"),
        ("- " * 400_000, "nested deeper than 20 levels"),
        ("[" + "a," * 200_000 + "]", "has more than 100,000 values"),
        ("{" + ",".join(f'"{n}":0' for n in range(100_001)) + "}", "has more than 100,000 values"),
        ("name: a\nname: b", "line 2: has the field 'name' twice in one place"),
        ('{"name": 1, "name": 2}', "has the field 'name' twice in one place"),
        ('{"seed": NaN}', "has NaN, which is not a number"),
        ('{"seed": ' + "1" * 5000 + "}", "has a number of too many digits"),
        ("a: 1\n---\nb: 2", "must be one document, there are 2"),
        ("", "must be one document, there are 0"),
        ("? [a, b]\n: 1", "line 1: the name of a field must be a word"),
        ("a: [1, 2", "is not YAML: did not find expected ',' or ']'"),
        ("a: \x07", "is not YAML: it has characters that YAML does not allow"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("\ud800", "is not UTF-8 text"),
        ("just words", "must be a mapping with version, name, tokenizer, corpora and models"),
    ],
)
def test_a_text_that_could_do_harm_is_refused_quickly(text: str | bytes, sentence: str) -> None:
    began = time.monotonic()
    message = refused(text)
    assert message.startswith("spec: ")
    assert sentence in message
    assert len(message) < 300
    assert time.monotonic() - began < 3


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.text() | st.binary() | JSON_VALUES.map(json.dumps))
def test_loading_any_text_gives_a_spec_error_and_nothing_else(text: str | bytes) -> None:
    assert refused(text)


def paths(value: Any, above: str = "") -> list[str]:
    """Dotted paths of everything inside the small spec's mappings."""
    if not isinstance(value, dict):
        return []
    own = [f"{above}{name}" for name in value]
    return own + [path for name in value for path in paths(value[name], f"{above}{name}.")]


@settings(max_examples=300)
@given(st.sampled_from(paths(values())), JSON_VALUES)
def test_any_value_at_any_place_gives_a_spec_or_a_spec_error(path: str, value: Any) -> None:
    try:
        loaded = parse_spec(edited((path, value)))
    except SpecError as error:
        for one in error.errors:
            assert one.path
            assert one.message
    else:
        assert parse_spec(loaded.model_dump(mode="json")) == loaded


# -------------------------------------------------------------------------------- schema


def test_every_field_of_the_schema_has_a_description() -> None:
    schema = spec_schema()
    parts = [schema, *schema["$defs"].values()]
    fields = [(part["title"], name) for part in parts for name in part.get("properties", ())]
    undescribed = [
        (part["title"], name)
        for part in parts
        for name, field in part.get("properties", {}).items()
        if not field.get("description")
    ]
    assert len(fields) > 80
    assert undescribed == []
    assert all(part["additionalProperties"] is False for part in parts if "properties" in part)


def test_the_schema_states_the_limits_that_are_checked() -> None:
    definitions = spec_schema()["$defs"]
    assert definitions["Merge"]["properties"]["t"]["maximum"] == 1
    assert definitions["Sweep"]["properties"]["steps"]["minimum"] == 2
    assert "import" in definitions["Model"]["properties"]


@pytest.mark.parametrize(
    ("sparsity", "variant"),
    [({"l1": 1e-3}, "relu"), ({"l0": 12}, "relu"), ({"k": 12}, "batchtopk")],
)
def test_without_a_variant_the_sparsity_says_which(sparsity: dict[str, Any], variant: str) -> None:
    group = Dictionaries.model_validate({"features": 64, "tokens": 1000, **sparsity})
    assert group.variant == variant
