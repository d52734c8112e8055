"""Every setting of the asset graph, typed, from the environment (or a `.env` beside it)."""

import os
from datetime import date
from functools import lru_cache
from typing import Literal

from pydantic import (
    Field,
    HttpUrl,
    Secret,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from forecast_assets.planning.calendar import Calendar, Grain

DAGSTER_BATCHING: dict[str, str] = {
    "DAGSTER_EVENT_BATCH_SIZE": "2000",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
}
"""Environment that every Dagster process needs: webserver, daemon, code server and command line.

Event writes are what a run over many partitions costs; with these two settings they are written
in batches (one run over 1,115 partitions: about 1 s instead of 27 s).
"""

REGISTERED_NAME = "sales-forecast"
"""The registered model in MLflow."""

MAX_PARTITIONS = 100_000
"""Partitions an asset, at most: the limit that Dagster's documentation recommends."""


class SettingsError(Exception):
    """The environment lacks a setting, or holds one that cannot be; the message names it."""


class Settings(BaseSettings):
    """The settings; a field's alias is the name of its environment variable."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", populate_by_name=True, frozen=True, env_ignore_empty=True
    )

    database_url: SecretStr | None = Field(
        None,
        alias="FORECAST_DATABASE_URL",
        description="The sales database, as the assets' role; needed by all that reads or writes.",
    )
    reader_database_url: SecretStr | None = Field(
        None,
        alias="READER_DATABASE_URL",
        description="The sales database, as the role that only reads.",
    )
    dagster_url: str | None = Field(
        None, alias="DAGSTER_WEBSERVER_URL", description="Dagster's UI, for links into it."
    )
    mlflow_tracking_uri: str | None = Field(
        None, alias="MLFLOW_TRACKING_URI", description="MLflow's server, for links into it."
    )
    calendar_start: date = Field(
        date(2013, 1, 1),
        alias="SALES_CALENDAR_START",
        description="The first day that can be sold on: where the date partitions begin.",
    )
    calendar_end: date | None = Field(
        None,
        alias="SALES_CALENDAR_END",
        description="The last day of the calendar; without it, the running period is the last.",
    )
    date_grain: Grain = Field(
        "monthly", alias="FORECAST_DATE_GRAIN", description="How long a date partition is."
    )
    horizon: int = Field(
        42, ge=1, le=366, alias="FORECAST_HORIZON", description="Days ahead to forecast."
    )
    error_measure: Literal["rmspe", "median", "mean"] = Field(
        "rmspe",
        alias="FORECAST_ERROR_MEASURE",
        description="The error that the point forecast is shaped for.",
    )
    recipe: Literal["ridge", "stack"] = Field(
        "ridge",
        alias="FORECAST_RECIPE",
        description="The pooled model: coefficients only, or LightGBM on top of them.",
    )
    challenger: Literal["ridge", "stack"] | None = Field(
        None,
        alias="FORECAST_CHALLENGER",
        description="A recipe that each training compares with the other; the better one serves.",
    )
    retrain_factor: float = Field(
        1.3,
        gt=1,
        alias="FORECAST_RETRAIN_FACTOR",
        description=(
            "A training is asked for when recent forecasts are so many times less accurate than "
            "the champion was when it was calibrated."
        ),
    )
    retrain_days: int = Field(
        28,
        ge=7,
        le=366,
        alias="FORECAST_RETRAIN_DAYS",
        description="The newest days on which the champion's forecasts are looked at for that.",
    )
    max_open_minutes: float = Field(
        15,
        gt=0,
        alias="FORECAST_MAX_OPEN_MINUTES",
        description="A change open for longer than this makes the freshness check warn.",
    )
    alert_webhook: Secret[HttpUrl] | None = Field(
        None,
        alias="FORECAST_ALERT_WEBHOOK",
        description="Where failed runs and stale forecasts are told of, as a JSON object's `text`.",
    )
    keep_runs_days: int = Field(
        90,
        ge=7,
        alias="FORECAST_KEEP_RUNS_DAYS",
        description="Dagster's records of older runs are removed every night.",
    )
    keep_superseded_days: int | None = Field(
        None,
        ge=366,
        alias="FORECAST_KEEP_SUPERSEDED_DAYS",
        description="Events of older days that were corrected since are removed; empty: never.",
    )
    keep_origins_days: int | None = Field(
        None,
        ge=366,
        alias="FORECAST_KEEP_ORIGINS_DAYS",
        description="Issued forecasts from older origins are removed; empty: never.",
    )
    spark_from_cells: int | None = Field(
        None,
        ge=1,
        alias="FORECAST_SPARK_FROM_CELLS",
        description=(
            "A run over at least so many cells (a store in a period) that somebody asked for "
            "computes on Spark's executors; without it, and in refreshes, none does."
        ),
    )
    spark_master: str = Field(
        "local[2,4]", alias="SPARK_MASTER", description="The master of those executors."
    )
    mlflow_experiment: str = Field("sales-forecast", alias="FORECAST_MLFLOW_EXPERIMENT")

    @model_validator(mode="after")
    def _calendar_is_ordered(self) -> "Settings":
        if self.calendar_end is not None and self.calendar_end < self.calendar_start:
            raise ValueError(
                f"SALES_CALENDAR_END {self.calendar_end} lies before "
                f"SALES_CALENDAR_START {self.calendar_start}"
            )
        return self

    @property
    def calendar(self) -> Calendar:
        """The periods of the date partitions."""
        return Calendar(self.date_grain)

    def require_database_url(self) -> str:
        """The address of the sales database.

        Raises:
            SettingsError: It is not set.
        """
        if self.database_url is None:
            raise SettingsError(
                "FORECAST_DATABASE_URL is not set: start the stack with `make up`, which writes "
                "it to .env, or set it to the address of your own sales database"
            )
        return self.database_url.get_secret_value()

    def require_reader_url(self) -> str:
        """The address of the sales database for reading; the assets' own where there is no other.

        Raises:
            SettingsError: Neither is set.
        """
        if self.reader_database_url is not None:
            return self.reader_database_url.get_secret_value()
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        raise SettingsError(
            "READER_DATABASE_URL is not set: start the stack with `make up`, which writes it to "
            ".env, or set it to the address of your own sales database"
        )


def apply_dagster_batching() -> None:
    """Puts both batching settings in force in this process, unless they are set already."""
    for name, value in DAGSTER_BATCHING.items():
        os.environ.setdefault(name, value)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: A variable is missing or holds an impossible value.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            lines.append(f"{name}: {problem['msg']}" if name else problem["msg"])
        raise SettingsError(
            "settings: " + "; ".join(lines) + ". Set them in the environment or in .env "
            "(`make up` writes one; .env.example lists them)."
        ) from error
