"""Every setting of the stream, typed, from the environment or ./.env; nothing else reads them."""

from datetime import date
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streaming_job.errors import SettingsError


class StreamSettings(BaseSettings):
    """The stream's settings; each field's name in capitals is its environment variable."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    stream_database_url: SecretStr = Field(
        description="The sales database as the role sales_stream: postgresql://user:pw@host/db"
    )
    kafka_bootstrap_servers: str = Field(description="host:port of one or more brokers")
    sales_topic: str = "sales"
    spark_stream_checkpoints_path: Path = Path(".stack/checkpoints")
    spark_master: str = "local[2,4]"
    spark_jars_dir: Path = Path(".jars/spark")
    spark_driver_memory: str = "1g"
    sales_calendar_start: date = date(2013, 1, 1)
    sales_calendar_end: date | None = None
    stream_max_offsets_per_trigger: int = Field(default=400_000, gt=0)
    stream_lock_timeout_seconds: int = Field(
        default=30, gt=0, description="how long a task waits for another one that locks its range"
    )
    stream_idle_timeout_seconds: int = Field(
        default=60, gt=0, description="how long PostgreSQL keeps a hung task's transaction open"
    )
    stream_metrics_port: int | None = Field(
        default=None, description="loopback port for Prometheus; empty: no metrics"
    )

    @field_validator("stream_database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must look like postgresql://user:password@host:port/database")
        return value

    @property
    def database_url(self) -> str:
        """The database's address with its password: never log it."""
        return self.stream_database_url.get_secret_value()


def load_settings(**overrides: object) -> StreamSettings:
    """Read the settings.

    Args:
        overrides: Settings that take precedence over the environment.

    Raises:
        SettingsError: A setting is missing or wrong; the message names each variable.
    """
    try:
        return StreamSettings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(
            f"{faults}. Start the stack with `make up`, or set it in the environment or in .env "
            "(see .env.example)"
        ) from None
