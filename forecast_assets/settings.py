"""Every setting of the asset graph, typed, read from the environment, `.env.local` or `.env`."""

import os
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    HttpUrl,
    Secret,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from forecast_assets.planning.calendar import Calendar, Grain
from warehouse.environment import DOTENV_FILES, refuse_other_addresses

#: Environment variables for every Dagster process: webserver, daemon, code server, command line.
#: A run over many partitions spends its time writing events; with these it writes them in batches
#: (1,115 partitions: about 1 s instead of 27 s).
DAGSTER_BATCHING: dict[str, str] = {
    "DAGSTER_EVENT_BATCH_SIZE": "2000",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true",
}

#: The name of the registered model in MLflow.
REGISTERED_NAME = "sales-forecast"

#: The most partitions per asset that Dagster's documentation recommends.
MAX_PARTITIONS = 100_000


class SettingsError(Exception):
    """A setting is missing or invalid; the message names it."""


class Settings(BaseSettings):
    """The settings. The alias of a field is its environment variable."""

    model_config = SettingsConfigDict(
        env_file=DOTENV_FILES,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = Field(
        None,
        alias="FORECAST_DATABASE_URL",
        description="The address of the sales database, with the assets' role. Required.",
    )
    reader_database_url: SecretStr | None = Field(
        None,
        alias="READER_DATABASE_URL",
        description="The address of the sales database, with the read-only role.",
    )
    dagster_url: str | None = Field(
        None, alias="DAGSTER_WEBSERVER_URL", description="The address of Dagster's UI, for links."
    )
    mlflow_tracking_uri: str | None = Field(
        None, alias="MLFLOW_TRACKING_URI", description="The address of the MLflow server."
    )
    calendar_start: date = Field(
        date(2013, 1, 1),
        alias="SALES_CALENDAR_START",
        description="The first day with sales. The date partitions begin here.",
    )
    calendar_end: date | None = Field(
        None,
        alias="SALES_CALENDAR_END",
        description="The last day of the calendar. Default: the end of the current period.",
    )
    date_grain: Grain = Field(
        "monthly", alias="FORECAST_DATE_GRAIN", description="The length of a date partition."
    )
    horizon: int = Field(
        42, ge=1, le=366, alias="FORECAST_HORIZON", description="How many days ahead to forecast."
    )
    error_measure: Literal["rmspe", "median", "mean"] = Field(
        "rmspe",
        alias="FORECAST_ERROR_MEASURE",
        description="The error measure that the point forecast minimizes.",
    )
    recipe: Literal["ridge", "stack"] = Field(
        "ridge",
        alias="FORECAST_RECIPE",
        description="The kind of pooled model: ridge regression, or LightGBM stacked on it.",
    )
    challenger: Literal["ridge", "stack", "none"] = Field(
        "stack",
        alias="FORECAST_CHALLENGER",
        description=(
            "A second recipe, or `none`. The first training skips it, so that forecasts exist "
            "early; a second one compares both recipes behind it, at low priority, as does each "
            "later training. The more accurate recipe serves."
        ),
    )
    retrain_factor: float = Field(
        1.3,
        gt=1,
        alias="FORECAST_RETRAIN_FACTOR",
        description=(
            "Request a training when the WAPE of recent forecasts exceeds the champion's "
            "calibrated WAPE by this factor."
        ),
    )
    retrain_days: int = Field(
        28,
        ge=7,
        le=366,
        alias="FORECAST_RETRAIN_DAYS",
        description="How many of the newest days count as recent for the retrain factor.",
    )
    max_open_minutes: float = Field(
        15,
        gt=0,
        alias="FORECAST_MAX_OPEN_MINUTES",
        description="Minutes after which an open change makes the freshness check warn.",
    )
    max_age_days: int = Field(
        3,
        ge=1,
        alias="FORECAST_MAX_AGE_DAYS",
        description=(
            "Days that the newest forecasts may lie behind today, and a store's newest sales "
            "behind the chain's, before the checks warn."
        ),
    )
    events_grace_hours: float = Field(
        3,
        ge=0,
        alias="FORECAST_EVENTS_GRACE_HOURS",
        description="Hours that a day's sales may come later than usual before the checks warn.",
    )
    stream_silence_minutes: float | None = Field(
        5,
        gt=0,
        alias="FORECAST_STREAM_SILENCE_MINUTES",
        description=(
            "Minutes without a sign of life or progress of the stream before the checks warn; "
            "`none` for a chain that drains the topic or loads files instead."
        ),
    )
    max_quarantined_share: float = Field(
        0.05,
        ge=0,
        le=1,
        alias="FORECAST_MAX_QUARANTINED_SHARE",
        description="Share of a day's events in quarantine above which the checks warn.",
    )
    unusual_factor: float | None = Field(
        8,
        gt=1,
        alias="FORECAST_UNUSUAL_FACTOR",
        description=(
            "A day's sales that exceed the store's usual ones by this factor, or fall short by it, "
            "are left out of levels and fits until a second event confirms them; `none` never."
        ),
    )
    alert_webhook: Secret[HttpUrl] | None = Field(
        None,
        alias="FORECAST_ALERT_WEBHOOK",
        description='The webhook for failed runs and other problems; gets `{"text": …}` as JSON.',
    )
    keep_runs_days: int = Field(
        90,
        ge=7,
        alias="FORECAST_KEEP_RUNS_DAYS",
        description="Days that Dagster's run records are kept; a nightly job deletes older ones.",
    )
    keep_superseded_days: int | None = Field(
        None,
        ge=366,
        alias="FORECAST_KEEP_SUPERSEDED_DAYS",
        description="Days that corrected (superseded) events are kept. Default: forever.",
    )
    keep_origins_days: int | None = Field(
        None,
        ge=366,
        alias="FORECAST_KEEP_ORIGINS_DAYS",
        description="Days that issued forecasts are kept after their origin. Default: forever.",
    )
    spark_from_cells: int | None = Field(
        None,
        ge=1,
        alias="FORECAST_SPARK_FROM_CELLS",
        description=(
            "A requested run over at least this many partitions (one store in one period) computes "
            "on Spark's executors. Default: never. Refreshes never do."
        ),
    )
    spark_master: str = Field(
        "local[2,4]", alias="SPARK_MASTER", description="The Spark master for such runs."
    )
    run_launcher: Path | None = Field(
        None,
        alias="FORECAST_RUN_LAUNCHER",
        description=(
            "File that says how backfills and trainings are launched, in the form of "
            "dagster.yaml's `run_launcher`. Default: as processes of the daemon, like refreshes."
        ),
    )
    mlflow_experiment: str = Field("sales-forecast", alias="FORECAST_MLFLOW_EXPERIMENT")

    @field_validator("stream_silence_minutes", "unusual_factor", mode="before")
    @classmethod
    def _none_is_off(cls, value: object) -> object:
        is_none = isinstance(value, str) and value.strip().lower() == "none"
        return None if is_none else value

    @field_validator("database_url", "reader_database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            refuse_other_addresses(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _calendar_is_ordered(self) -> "Settings":
        if self.calendar_end is not None and self.calendar_end < self.calendar_start:
            raise ValueError(
                f"SALES_CALENDAR_END {self.calendar_end} is before "
                f"SALES_CALENDAR_START {self.calendar_start}"
            )
        return self

    @property
    def challenger_recipe(self) -> Literal["ridge", "stack"] | None:
        """The recipe to compare with `recipe`; None when there is no other."""
        if self.challenger == "none":
            return None
        return self.challenger if self.challenger != self.recipe else None

    @property
    def calendar(self) -> Calendar:
        """The periods of the date partitions."""
        return Calendar(self.date_grain)

    def require_database_url(self) -> str:
        """Return the address of the sales database.

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
        """Return the address of the sales database with the read-only role.

        Without one, return the address with the assets' role.

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
    """Set both batching variables in this process unless they are set already."""
    for name, value in DAGSTER_BATCHING.items():
        os.environ.setdefault(name, value)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: A variable is missing or invalid.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # the fields come from the environment
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise explain(error) from None  # The cause would quote the values, passwords included.


def explain(error: OSError | UnicodeDecodeError | ValidationError) -> SettingsError:
    """Return what is wrong with the settings, without their values."""
    if not isinstance(error, ValidationError):
        return SettingsError(f"{' or '.join(DOTENV_FILES)} cannot be read: {error}")
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        lines.append(f"{name}: {problem['msg']}" if name else problem["msg"])
    return SettingsError(
        "settings: " + "; ".join(lines) + ". Set them in the environment or in .env.local "
        "(.env.example lists them)."
    )
