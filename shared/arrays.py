"""Names for numpy arrays by what they hold. Shapes stand in suffixes and docstrings, not here."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
AnyFloatArray = npt.NDArray[np.floating[Any]]  # of either precision
BoolArray = npt.NDArray[np.bool_]
NameArray = npt.NDArray[np.str_]
