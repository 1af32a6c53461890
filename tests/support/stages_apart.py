"""A contract for import-linter: no stage imports another, for all stages that there are."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter.contracts.independence import IndependenceContract
from importlinter.domain import fields
from importlinter.domain.contract import ContractCheck
from importlinter.domain.imports import ModuleExpression

from shared.stages.entry import home
from shared.stages.kinds import KINDS


class StagesApart(IndependenceContract):
    """Independence of the module or folder of every stage kind; the list is the table of kinds."""

    modules = fields.SetField(subfield=fields.ModuleExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Check the stages in place of modules that a file names."""
        self.modules = {
            ModuleExpression(f"services.{kind.service}.{home(kind.name)}")
            for kind in KINDS.values()
        }
        return super().check(graph, verbose)
