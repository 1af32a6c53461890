"""Roles are text that plans and stored manifests already have: it must not change."""

from __future__ import annotations

import inspect

from shared.lineage.roles import Role, roles_of
from shared.plan.report import LIGHT_KINDS
from shared.stages.report import REPORT, RESULTS_ONLY


def test_a_role_is_its_text_and_says_its_parts() -> None:
    role = Role.explained_edge("main", "rule", "base@2", "lua")
    assert role == "explained_edge/main/rule/base@2/lua"
    assert {str(role): "key"}[role] == "key"
    assert (role.kind, role.names) == ("explained_edge", ("main", "rule", "base@2", "lua"))
    assert Role("explained_edge/main/rule/base@2/lua").names == role.names


def test_the_text_of_every_role() -> None:
    assert [
        Role.corpus("c"), Role.tokens("c"), Role.model("m"), Role.evaluate("m"),
        Role.untrained("m"), Role.sweep("s"), Role.dictionary("g", "m", 1),
        Role.quality("g", "m", 1), Role.crosscoder("g", "a", "b"), Role.cell_quality("s", 3, 1),
        Role.cell_ceiling("s", 3), Role.match("t", "a", "b"), Role.ancestor("t", "a", "b"),
        Role.crossed("t", "a", "b"), Role.ceiling("t", "m"), Role.warm("t", "m"),
        Role.unrelated("t", "m"), Role.scaling("t", "a", "b"), Role.contexts("t", "m"),
        Role.track("t"), Role.explain("t", "rule", "m"), Role.explained_edge("t", "rule", "a", "b"),
    ] == [
        "corpus/c", "tokens/c", "model/m", "evaluate/m",
        "untrained/m", "sweep/s", "dictionary/g/m/1",
        "quality/g/m/1", "crosscoder/g/a/b", "stability/s/3/quality/1",
        "stability/s/3/ceiling", "match/t/a/b", "ancestor/t/a/b",
        "crossed/t/a/b", "ceiling/t/m", "warm/t/m",
        "unrelated/t/m", "scaling/t/a/b", "contexts/t/m",
        "track/t", "explain/t/rule/m", "explained_edge/t/rule/a/b",
    ]  # fmt: skip


def test_the_report_documents_every_role_and_no_other() -> None:
    roles = set()
    for name, member in vars(Role).items():
        if isinstance(member, classmethod):
            constructor = getattr(Role, name)
            names = inspect.signature(constructor).parameters
            roles.add(constructor(*(f"{{{name}}}" for name in names)))
    assert roles == set(REPORT.inputs)
    light = {Role(role).kind for role, text in REPORT.inputs.items() if RESULTS_ONLY in text}
    assert light == set(LIGHT_KINDS)


def test_roles_are_found_by_kind_and_first_names() -> None:
    roles = ["quality/g/m/1", "quality/g/mm/0", "model/g", "quality/g/m/0"]
    assert roles_of(roles, "quality", "g", "m") == ["quality/g/m/1", "quality/g/m/0"]
    assert roles_of(roles, "quality") == [roles[0], roles[1], roles[3]]
    assert roles_of(roles, "model", "m") == []
