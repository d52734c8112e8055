"""The format of stored pooled models: a fingerprint of everything that their bytes depend on.

Nothing else lives here, so that a sensor can read the format without importing the training code.
"""

from __future__ import annotations

import hashlib
import json

from forecasting.calibration import KINDS
from forecasting.columns import QUANTILES
from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.at_origin import STACK_INPUTS
from forecasting.models.moments import HALF_LIVES

#: Bump this when the stored bytes change meaning but none of the inputs below do.
_LAYOUT = 8


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


#: This version of the code reads only models of this format. Other models must be trained again.
MODEL_FORMAT = _fingerprint()
