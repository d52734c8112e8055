"""The pooled model: what all stores share, its calibration, and its bytes.

It is fitted in `training.py`. The version of its bytes is in `model_format.py`.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from forecasting.arrays import Array
from forecasting.calibration import Calibration
from forecasting.features.regressors import DESIGN_COLUMNS
from forecasting.models.closures import ClosureEffect
from forecasting.models.dependence import Dependence
from forecasting.models.limits import Peaks
from forecasting.models.linear import Population
from forecasting.models.model_format import MODEL_FORMAT

#: How a pooled model is built: linear models alone, or LightGBM on top of them.
Recipe = Literal["ridge", "stack"]

#: Days ahead that forecasts reach by default: six weeks, as in Kaggle's competition.
DEFAULT_HORIZON = 42
#: Days of history that a store needs before trees correct its forecasts, and that a past origin
#: needs before the calibration uses it.
MIN_HISTORY_DAYS = 90
#: Models that stay in memory once they are read: a forecast in seconds needs the same one again.
KEPT_MODELS = 4


@dataclass(frozen=True)
class PooledModel:
    """A fitted pooled model; immutable, and trained on no day after `trained_until`.

    Attributes:
        recipe: `ridge` (linear models only) or `stack` (LightGBM on top of them).
        trained_until: Last day whose sales it has seen.
        horizon: Days ahead that it was calibrated for.
        seed: Seed of every random choice.
        populations: Distribution of the stores' coefficients, one per half-life.
        typical: Average outer product of past days' regressors, shape (p, p).
        population_scale: Standard deviation of a log forecast for a store without history.
        season_covariance: Covariance of the pooled effects of seasons, which widens the forecasts
            of a season that the chain has seldom or never seen, shape (p, p).
        calibration: Positions of the quantiles.
        closures: What stores sell on the last days before a long closure.
        dependence: How days and stores err together.
        peaks: The largest days of the chain, which limit the forecasts of young stores.
        boosters: Trees that correct the linear models, in LightGBM's text form; none for `ridge`.
        stack_weight: Weight of the trees' correction.
        stack_offset: The trees' mean correction over the chain, which is subtracted (log units).
        metrics: Accuracy on the calibration origins (`rmspe`, `wape`, `bias`, ...).
        by_origin: `metrics` of each calibration origin, oldest first, with `origin` (ISO date).
    """

    recipe: Recipe
    trained_until: date
    horizon: int
    seed: int
    populations: tuple[Population, ...]
    typical: Array
    population_scale: float
    season_covariance: Array
    calibration: Calibration
    closures: ClosureEffect
    dependence: Dependence
    peaks: Peaks
    boosters: tuple[str, ...] = ()
    stack_weight: float = 0.0
    stack_offset: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    by_origin: tuple[dict[str, Any], ...] = ()

    def to_bytes(self) -> bytes:
        """Serialize to compressed JSON; equal models have equal bytes."""
        content = {
            "format": MODEL_FORMAT,
            "recipe": self.recipe,
            "trained_until": self.trained_until.isoformat(),
            "horizon": self.horizon,
            "seed": self.seed,
            "populations": [
                {"mean": _pack(p.mean), "covariance": _pack(p.covariance), "noise": p.noise}
                for p in self.populations
            ],
            "typical": _pack(self.typical),
            "population_scale": self.population_scale,
            "season_covariance": _pack(self.season_covariance),
            "calibration": self.calibration.to_dict(),
            "closures": self.closures.to_dict(),
            "dependence": self.dependence.to_dict(),
            "peaks": self.peaks.to_dict(),
            "boosters": list(self.boosters),
            "stack_weight": self.stack_weight,
            "stack_offset": self.stack_offset,
            "metrics": self.metrics,
            "by_origin": list(self.by_origin),
        }
        return zlib.compress(json.dumps(content, sort_keys=True).encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> PooledModel:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: The bytes are no pooled model, or a pooled model in another format.
        """
        return _read(data)


@lru_cache(maxsize=KEPT_MODELS)
def _read(data: bytes) -> PooledModel:
    """Read a model; one that was read before is the same object, as nobody may change it."""
    try:
        content: dict[str, Any] = json.loads(zlib.decompress(data))
    except (zlib.error, ValueError) as error:
        raise ValueError("these bytes are no pooled model") from error
    if content.get("format") != MODEL_FORMAT:
        raise ValueError("another version of the code made the pooled model: train it again")
    p = len(DESIGN_COLUMNS)
    return PooledModel(
        recipe=content["recipe"],
        trained_until=date.fromisoformat(content["trained_until"]),
        horizon=content["horizon"],
        seed=content["seed"],
        populations=tuple(
            Population(
                _unpack(part["mean"], (p,)), _unpack(part["covariance"], (p, p)), part["noise"]
            )
            for part in content["populations"]
        ),
        typical=_unpack(content["typical"], (p, p)),
        population_scale=content["population_scale"],
        season_covariance=_unpack(content["season_covariance"], (p, p)),
        calibration=Calibration.from_dict(content["calibration"]),
        closures=ClosureEffect.from_dict(content["closures"]),
        dependence=Dependence.from_dict(content["dependence"]),
        peaks=Peaks(**content["peaks"]),
        boosters=tuple(content["boosters"]),
        stack_weight=content["stack_weight"],
        stack_offset=content["stack_offset"],
        metrics=content["metrics"],
        by_origin=tuple(content["by_origin"]),
    )


def _pack(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def _unpack(text: str, shape: tuple[int, ...]) -> Array:
    values = np.frombuffer(base64.b64decode(text), "<f8").reshape(shape).astype(np.float64)
    values.setflags(write=False)
    return values
