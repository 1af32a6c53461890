"""The one table of stage kinds. Queues, plans, workers' refusals and docs/stages.md follow from it.

A kind is declared once, beside its parameters, in a module of its service (the analyzer has four);
its code is found by its name (see shared.stages.entry).
"""

from __future__ import annotations

from shared.stages import analyzer, explain, merger, report, sae, tracking, trainer
from shared.stages.base import Kind

MODULES = (trainer, merger, sae, analyzer, tracking, explain, report)

# By name, in the order of the modules and of their declarations.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, Kind)
}
VERSIONS: dict[str, int] = {name: kind.version for name, kind in KINDS.items()}
SERVICES: tuple[str, ...] = tuple(dict.fromkeys(kind.service for kind in KINDS.values()))
