"""The methods that explain features, one a file, each named as shared.lineage declares it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from services.analyzer.explain.outcome import Outcome
from services.analyzer.explain.task import Task
from shared.lineage.explanations.methods import MethodName
from shared.stages.explain import ExplainParameters
from shared.stages.stage import Stage

Explain = Callable[[Stage, Task, ExplainParameters], Outcome]


def explain_function(method: MethodName) -> Explain:
    """The function `explain` of a method's file; only that file is imported."""
    function: Explain = importlib.import_module(f"{__name__}.{method}").explain
    return function
