"""Declared methods and the code that explains by them: neither is without the other."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from services.analyzer.explain import methods
from shared.lineage.explanations.methods import METHODS, MethodName


def test_each_declared_method_has_a_file_of_code_and_each_file_a_declaration() -> None:
    files = {path.stem for path in Path(*methods.__path__).glob("*.py")} - {"__init__"}
    assert files == set(METHODS)
    for method in METHODS:
        assert callable(methods.explain_function(method))


def test_parameters_and_answers_allow_the_declared_methods_in_their_order() -> None:
    assert get_args(MethodName) == tuple(METHODS)
