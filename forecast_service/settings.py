"""Every setting of the service, typed, from the environment, ./.env.local or ./.env."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.environment import DOTENV_FILES, refuse_other_addresses


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

    reader_url: SecretStr = Field(
        alias="READER_DATABASE_URL",
        description="The address of the sales database, with the role sales_reader.",
    )
    planner_url: SecretStr | None = Field(
        None,
        alias="PLANNER_DATABASE_URL",
        description="The same with the role sales_planner. Without it, nobody can adjust.",
    )
    dagster_url: str | None = Field(
        None, alias="DAGSTER_WEBSERVER_URL", description="The address of Dagster's webserver."
    )
    dagster_public_url: str | None = Field(
        None,
        alias="DAGSTER_PUBLIC_URL",
        description="The address for links to Dagster, if browsers reach it at another one.",
    )
    dagster_token: SecretStr | None = Field(
        None, alias="DAGSTER_WEBSERVER_TOKEN", description="What Dagster's webserver asks for."
    )
    mlflow_url: str | None = Field(
        None, alias="MLFLOW_TRACKING_URI", description="The address of the MLflow server."
    )
    mlflow_public_url: str | None = Field(
        None,
        alias="MLFLOW_PUBLIC_URL",
        description="The address for links to MLflow, if browsers reach it at another one.",
    )
    mlflow_token: SecretStr | None = Field(
        None, alias="MLFLOW_TRACKING_TOKEN", description="What MLflow asks for."
    )
    metrics_token: SecretStr | None = Field(
        None,
        min_length=16,
        alias="METRICS_TOKEN",
        description="What Prometheus sends for /metrics, where no client's token is needed.",
    )
    kafka_bootstrap_servers: str | None = Field(
        None,
        alias="KAFKA_BOOTSTRAP_SERVERS",
        description="The brokers (host:port) to which adopted plans go.",
    )
    sales_topic: str = Field("sales", alias="SALES_TOPIC", description="The topic.")
    date_grain: Literal["monthly", "weekly", "daily"] = Field(
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
    max_age_days: int = Field(
        3,
        ge=1,
        alias="FORECAST_MAX_AGE_DAYS",
        description="Days that the newest sales may lie behind today, where they come daily.",
    )
    expect_daily_sales: bool = Field(
        False,
        alias="SERVICE_EXPECT_DAILY_SALES",
        description="Whether readiness also says that sales are older than FORECAST_MAX_AGE_DAYS.",
    )
    max_open_minutes: float = Field(
        15,
        gt=0,
        alias="FORECAST_MAX_OPEN_MINUTES",
        description="Minutes that a change may wait for its refresh before readiness says so.",
    )
    stream_silence_minutes: float | None = Field(
        5,
        gt=0,
        alias="FORECAST_STREAM_SILENCE_MINUTES",
        description="Minutes without a heartbeat after which pages say so. none: no stream.",
    )
    charts_jar: Path = Field(
        Path(".jars/page/uplot-1.6.30.jar"),
        alias="SERVICE_CHARTS_JAR",
        description="uPlot, which draws the pages' charts, as `make setup` fetches it.",
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/?#@\s]+$",
        alias="SERVICE_PUBLIC_URL",
        description=(
            "The address under which browsers reach the service through a proxy that ends TLS, "
            "like https://forecasts.example.com; with https, the session's cookie stays on TLS."
        ),
    )
    host: str = Field("127.0.0.1", alias="SERVICE_HOST", description="The address to listen on.")
    port: int = Field(8080, ge=1, le=65535, alias="SERVICE_PORT", description="The port.")
    pool_size: int = Field(
        8, ge=1, le=50, alias="SERVICE_POOL_SIZE", description="Connections to read with."
    )
    statement_seconds: float = Field(
        10,
        gt=0,
        alias="SERVICE_STATEMENT_SECONDS",
        description="Seconds after which PostgreSQL ends a statement of the service.",
    )
    pool_wait_seconds: float = Field(
        2,
        gt=0,
        alias="SERVICE_POOL_WAIT_SECONDS",
        description="Seconds to wait for a connection before answering 503.",
    )
    max_requests: int = Field(
        64,
        ge=1,
        alias="SERVICE_MAX_REQUESTS",
        description="Requests at once; further ones get 429.",
    )
    max_computations: int = Field(
        2,
        ge=1,
        le=64,
        alias="SERVICE_MAX_COMPUTATIONS",
        description="Threads for what-ifs, explanations and large files.",
    )
    max_body_bytes: int = Field(
        256 * 1024,
        ge=1024,
        alias="SERVICE_MAX_BODY_BYTES",
        description="Longest body of a request.",
    )

    @field_validator("stream_silence_minutes", mode="before")
    @classmethod
    def _is_none(cls, value: object) -> object:
        return None if value == "none" else value

    @field_validator("reader_url", "planner_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            refuse_other_addresses(value.get_secret_value())
        return value


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: A setting is missing or invalid; the message names each variable.
    """
    try:
        return Settings()  # type: ignore[call-arg]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{' or '.join(DOTENV_FILES)} cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(
            f"{faults}. Start the stack with `make up`, or set it in the environment or in "
            ".env.local (.env.example lists all settings)"
        ) from None  # The cause would quote the values, passwords included.
