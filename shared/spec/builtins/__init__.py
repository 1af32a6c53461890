"""Built-in corpora, one file each: what a spec may name, and what stands for their text.

Their code is in services/trainer/corpus/builtin, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.spec.builtins.base import BuiltinDeclaration
from shared.spec.registry import declared

BUILTINS: Mapping[str, BuiltinDeclaration] = declared(__name__, __path__, BuiltinDeclaration)
