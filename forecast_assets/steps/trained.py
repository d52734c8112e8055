"""A trained pooled model and how its recipe was chosen. The training itself is in `training.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forecast_assets.settings import settings

if TYPE_CHECKING:
    from forecasting.evaluation.comparison import Comparison
    from forecasting.models.pooled import PooledModel

#: Metric of a model's version: from how many origins its recipe was compared with the other one. A
#: version without it was trained before any comparison.
COMPARED_ORIGINS = "compared_origins"


@dataclass(frozen=True)
class Trained:
    """A model that was trained on all data, and how its recipe was chosen.

    Attributes:
        model: The model.
        data: Its bytes.
        version: Its version: the last training day and the MLflow run.
        run_id: The MLflow run.
        rows: How many store days it was trained on.
        stores: How many stores it was trained on.
        comparison: The comparison of two recipes, if there was one.
        compared_origins: How many origins the recipes were compared from: 0 when the history was
            too short, None when no comparison was due.
    """

    model: PooledModel
    data: bytes
    version: str
    run_id: str
    rows: int
    stores: int
    comparison: Comparison | None
    compared_origins: int | None

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the model's version."""
        if self.compared_origins is None:
            return self.model.metrics
        return self.model.metrics | {COMPARED_ORIGINS: float(self.compared_origins)}

    @property
    def summary(self) -> str | None:
        """The outcome of the comparison in one line."""
        return self.comparison.summary(settings().error_measure) if self.comparison else None
