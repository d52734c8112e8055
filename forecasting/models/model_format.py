"""Which code a stored pooled model fits: a fingerprint of everything that its bytes depend on.

Here belongs nothing else, so that a sensor can ask for it without importing what trains models.
"""

from __future__ import annotations

import hashlib
import json

from forecasting.calibration import KINDS
from forecasting.columns import QUANTILES
from forecasting.features.design import DESIGN_COLUMNS
from forecasting.models.at_origin import STACK_INPUTS
from forecasting.models.moments import HALF_LIVES

#: Raised when the meaning of the stored bytes changes though nothing of the below does.
_LAYOUT = 6


def _fingerprint() -> str:
    parts = [
        _LAYOUT,
        list(DESIGN_COLUMNS),
        list(STACK_INPUTS),
        list(HALF_LIVES),
        KINDS,
        list(QUANTILES),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


#: A model stored under another format cannot be read by this version: it is trained again.
MODEL_FORMAT = _fingerprint()
