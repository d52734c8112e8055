"""Every setting of the stream, typed, from the environment, ./.env.local or ./.env.

Nothing else reads them.
"""

from datetime import date
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streaming_job.errors import SettingsError

#: The stack's own file, then the user's, whose values win. `make up` never writes the second.
DOTENV_FILES = (".env", ".env.local")


class SparkSettings(BaseSettings):
    """What Spark needs before it starts; a computation without a stream needs it too."""

    model_config = SettingsConfigDict(
        env_file=DOTENV_FILES, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    java_home: Path | None = Field(default=None, description="Java 17 or 21; by default PATH's")
    spark_defaults_dir: Path | None = Field(
        default=None, description="folder of a spark-defaults.conf; by default none is read"
    )
    spark_driver_host: str | None = Field(
        default=None,
        description="name by which a cluster's executors reach the driver; by default this host's",
    )
    spark_driver_bind_address: str | None = Field(
        default=None,
        description="address on which it listens for them; by default the one of that name",
    )
    spark_max_cores: int | None = Field(
        default=None,
        gt=0,
        description="cores of a cluster that the driver takes at most; by default all free ones",
    )
    spark_authenticate_secret: SecretStr | None = Field(
        default=None, description="what a cluster's processes ask each other for"
    )


class StreamSettings(SparkSettings):
    """The stream's settings; each field's name in capitals is its environment variable."""

    stream_database_url: SecretStr = Field(
        description="The sales database as the role sales_stream: postgresql://user:pw@host/db"
    )
    kafka_bootstrap_servers: str = Field(description="host:port of one or more brokers")
    sales_topic: str = "sales"
    spark_stream_checkpoints_path: Path = Path(".stack/checkpoints")
    spark_master: str = "local[2,4]"
    spark_jars_dir: Path = Path(".jars/spark")
    spark_driver_memory: str = "1g"
    spark_driver_java_options: str = ""
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
        default=None, description="port for Prometheus; empty: no metrics"
    )
    stream_metrics_host: str = Field(
        default="127.0.0.1", description="address on which Prometheus finds them"
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="what Prometheus sends as bearer token; empty: nothing is asked"
    )

    @field_validator("stream_database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        if not _is_postgresql_address(value.get_secret_value()):
            # PostgreSQL's own message would quote the address, password included.
            raise ValueError(
                "must look like postgresql://user:password@host:port/database; write signs such "
                "as @, /, % and [ in the password as %40, %2F, %25 and %5B"
            )
        return value

    @property
    def database_url(self) -> str:
        """The database's address with its password: never log it."""
        return self.stream_database_url.get_secret_value()


def _is_postgresql_address(text: str) -> bool:
    """Tell whether an address is one that PostgreSQL's clients read as it was meant.

    `warehouse.environment` has the same rule, which the stream may not import.
    """
    import psycopg

    scheme, _, rest = text.partition("://")
    # With an unquoted sign, a part of the password would count as host or port.
    if scheme not in ("postgresql", "postgres") or "@" in rest.partition("@")[2]:
        return False
    if "@" in rest and any(sign in rest.partition("@")[0] for sign in "/?#"):
        return False
    try:
        psycopg.conninfo.conninfo_to_dict(text)
    except psycopg.Error:
        return False
    return True


def load_settings(**overrides: object) -> StreamSettings:
    """Read the settings.

    Args:
        overrides: Settings that take precedence over the environment.

    Raises:
        SettingsError: A setting is missing or wrong; the message names each variable.
    """
    try:
        return StreamSettings(**overrides)  # type: ignore[arg-type]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{' or '.join(DOTENV_FILES)} cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(
            f"{faults}. Start the stack with `make up`, or set it in the environment or in "
            ".env.local (see .env.example)"
        ) from None
