"""What MLflow's pages say about a training: names, descriptions, the data set, links.

Only trainings import this module. Parameters, metrics and pictures are logged in `training.py`;
models are registered in `registry.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.types import ColSpec, Schema

from forecast_assets.settings import REGISTERED_NAME, settings

if TYPE_CHECKING:
    from forecast_assets.steps.trained import Trained
    from forecasting.models.pooled import PooledModel

#: MLflow's tags for a run's name, and for the description of a run or an experiment.
NAME_TAG, NOTE_TAG = "mlflow.runName", "mlflow.note.content"

EXPERIMENT = (
    "Trainings of the pooled model: what all stores have in common. Each run is one training, made "
    "by the Dagster asset `pooled_model`; compare them by `rmspe` and `wape`, the error on past "
    f"origins that the model had not seen. The models are versions of `{REGISTERED_NAME}`."
)

REGISTERED = (
    "The pooled model of the sales forecasts. `@champion` serves; `@challenger` lost the newest "
    "comparison. Give it a day panel of past sales and future plans, and it returns a point, a "
    "mean and eleven quantiles for each store and day ahead."
)

#: The measures that tell how good a model is, as their names in `PooledModel.metrics` and titles.
HEADLINES = (
    ("rmspe", "RMSPE", ".4f"),
    ("wape", "WAPE", ".4f"),
    ("bias", "bias", "+.2%"),
    ("coverage_80", "days inside the 80 % interval", ".1%"),
    ("coverage_95", "days inside the 95 % interval", ".1%"),
)

_COLUMN_TYPES = {"i": "long", "f": "double", "b": "boolean", "M": "datetime"}


class FeatureRows(MetaDataset):
    """The feature rows of a training, described without storing them again."""

    def __init__(self, rows: pd.DataFrame) -> None:
        """Describe rows; equal rows get equal digests."""
        self._rows = rows
        first, last = (f"{day:%Y-%m-%d}" for day in (rows["date"].min(), rows["date"].max()))
        schema = Schema(
            [
                ColSpec(_COLUMN_TYPES.get(kind.kind, "string"), str(name))
                for name, kind in rows.dtypes.items()
            ]
        )
        source = CodeDatasetSource(
            {
                "table": "sales.features",
                "query": f"SELECT * FROM sales.features WHERE date BETWEEN '{first}' AND '{last}'",
                "asset": "features",
            }
        )
        super().__init__(source, name=f"features until {last}", schema=schema)

    def _compute_digest(self) -> str:
        # The other columns are computed from these and the plan.
        sold = self._rows[["store", "date", "log_sales"]]
        hashes = pd.util.hash_pandas_object(sold, index=False).to_numpy()
        return f"{int(np.add.reduce(hashes)):016x}"

    @property
    def profile(self) -> dict[str, Any]:
        """The size of the data set."""
        return {
            "num_rows": len(self._rows),
            "stores": int(self._rows["store"].nunique()),
            "first_day": f"{self._rows['date'].min():%Y-%m-%d}",
            "last_day": f"{self._rows['date'].max():%Y-%m-%d}",
        }

    def to_dict(self) -> dict[str, str]:
        """Return what MLflow stores."""
        return super().to_dict() | {"profile": json.dumps(self.profile)}


def describe(trained: Trained, dagster_run_id: str, pictures: list[str]) -> str:
    """Describe a training in Markdown, with a link to the Dagster run that made it.

    Args:
        trained: The trained model.
        dagster_run_id: The Dagster run.
        pictures: Paths of the run's pictures.
    """
    base = (settings().dagster_url or "").rstrip("/")
    run = f"[{dagster_run_id}]({base}/runs/{dagster_run_id})" if base else f"`{dagster_run_id}`"
    lines = [
        f"### {trained.model.recipe}, trained until {trained.model.trained_until}",
        "",
        f"Version `{trained.version}`, from {trained.rows:,} days of {trained.stores:,} stores. "
        f"Dagster run: {run}.",
        "",
        headlines(trained.model),
        "",
    ]
    if trained.summary:
        lines += [f"Compared on past origins: {trained.summary}.", ""]
    lines += [
        f"Pictures are among the artifacts: {', '.join(f'`{path}`' for path in pictures)}. The "
        "metrics `origin_…` are those of each past origin, as steps.",
    ]
    return "\n".join(lines)


def headlines(model: PooledModel) -> str:
    """Return the headline measures as a Markdown table."""
    measured = [
        (title, format(model.metrics[name], spec))
        for name, title, spec in HEADLINES
        if name in model.metrics
    ]
    if not measured:
        return "The history is too short to measure the error on past origins."
    return "\n".join(
        [
            "| on past origins that the model had not seen | |",
            "|---|---|",
            *(f"| {title} | {value} |" for title, value in measured),
        ]
    )


def describe_run(
    trained: Trained, dagster_run_id: str, pictures: list[str], rows: pd.DataFrame
) -> None:
    """Name and describe the active run and its experiment, and name its data set.

    A run over a range of periods has several models: each adds its description.

    Args:
        trained: The trained model.
        dagster_run_id: The Dagster run.
        pictures: Paths of the run's pictures.
        rows: The feature rows.
    """
    before = mlflow.get_run(trained.run_id).data.tags.get(NOTE_TAG)
    described = describe(trained, dagster_run_id, pictures)
    name = f"{trained.model.recipe} until {trained.model.trained_until}"
    mlflow.set_tags(
        {
            NAME_TAG: f"{name} and earlier" if before else name,
            NOTE_TAG: f"{before}\n\n{described}" if before else described,
        }
    )
    mlflow.log_input(FeatureRows(rows), context="training")
    mlflow.set_experiment_tag(NOTE_TAG, EXPERIMENT)
