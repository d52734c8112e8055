"""Types of the arrays that the library computes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Dates = npt.NDArray[np.datetime64]
