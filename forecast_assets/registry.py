"""The model registry in MLflow: registers trained models and names champion and challenger.

Importing MLflow takes two seconds, so only trainings import this module. `steps/training.py` logs
parameters, metrics and pictures. A loaded model runs `forecasting/mlflow_model.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, Schema

import forecasting
from forecast_assets.settings import REGISTERED_NAME
from forecasting.columns import DAY_COLUMNS, FORECAST_COLUMNS
from forecasting.models.pooled import PooledModel

Alias = Literal["champion", "challenger"]

_CODE = Path(forecasting.__file__).parent
_REQUIRED = ("mlflow", "numpy", "pandas", "scipy", "lightgbm")
_INPUT_TYPES = {
    "store": "integer",
    "date": "datetime",
    "day_of_week": "integer",
    "sales": "double",
    "customers": "double",
    "open": "integer",
    "promo": "integer",
    "state_holiday": "string",
    "school_holiday": "integer",
}
_OUTPUT_TYPES = {
    "store": "integer",
    "origin": "datetime",
    "date": "datetime",
    "horizon": "integer",
    "open": "integer",
    "plan_assumed": "boolean",
    "limited": "boolean",
}
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(_INPUT_TYPES[name], name) for name in DAY_COLUMNS]),
    outputs=Schema([ColSpec(_OUTPUT_TYPES.get(name, "double"), name) for name in FORECAST_COLUMNS]),
)


def requirements() -> list[str]:
    """Return the packages that a loaded model needs, pinned to the versions that trained it."""
    return [f"{name}=={version(name)}" for name in _REQUIRED]


def describe(description: str) -> None:
    """Describe the registered model; make it if this is its first version."""
    client = mlflow.MlflowClient()
    try:
        client.update_registered_model(REGISTERED_NAME, description)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        client.create_registered_model(REGISTERED_NAME, description=description)


def register(
    model: PooledModel,
    data: bytes,
    *,
    name: str,
    tags: Mapping[str, str],
    description: str | None = None,
) -> str:
    """Log a model to the active run, with the code that loads it, and register it.

    Args:
        model: The model.
        data: Its bytes.
        name: Its name in the run.
        tags: Tags of the registered version.
        description: Its description, as Markdown.

    Returns:
        The registered version.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pooled_model.json.z"
        path.write_bytes(data)
        logged = mlflow.pyfunc.log_model(
            name=name,
            # A file instead of an object, so nothing is pickled.
            python_model=str(_CODE / "mlflow_model.py"),
            artifacts={"pooled_model": str(path)},
            signature=SIGNATURE,
            # MLflow would infer them by running the model in a separate process for 10 s.
            pip_requirements=requirements(),
            code_paths=[str(_CODE)],
            metadata={
                "recipe": model.recipe,
                "trained_until": str(model.trained_until),
                "python": ".".join(map(str, sys.version_info[:3])),
            },
            registered_model_name=REGISTERED_NAME,
        )
    registered = str(logged.registered_model_version)
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(REGISTERED_NAME, registered, key, value)
    if description is not None:
        client.update_model_version(REGISTERED_NAME, registered, description)
    return registered


def name_version(alias: Alias, registered: str) -> None:
    """Move an alias to a version of the registered model."""
    mlflow.MlflowClient().set_registered_model_alias(REGISTERED_NAME, alias, registered)
