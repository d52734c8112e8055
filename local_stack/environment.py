"""The environment contract: every variable, and which component gets it.

A component gets the addresses it needs and no others: the stream never sees the owner's password,
nor the webserver MLflow's. Values come from `stack.py`. What a component inherits is decided in
`inherited.py`, which settings its user may make in `own_settings.py`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from forecasting.threads import BLAS_THREADS, BLAS_VARIABLE
from local_stack import inherited, own_settings
from local_stack.errors import StackError

_CALENDAR = ("SALES_CALENDAR_START", "SALES_CALENDAR_END")
_KAFKA = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_CA_FILE",
)
_STREAM = (
    "STREAM_DATABASE_URL",
    *_KAFKA,
    "SALES_TOPIC",
    "SPARK_STREAM_CHECKPOINTS_PATH",
    "SPARK_MASTER",
    "SPARK_JARS_DIR",
    "JAVA_HOME",
    "PYSPARK_PYTHON",
    *_CALENDAR,
)
_BATCHING = (
    "DAGSTER_EVENT_BATCH_SIZE",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS",
)
_DAGSTER = (
    "FORECAST_DATABASE_URL",
    "DAGSTER_POSTGRES_URL",
    "DAGSTER_HOME",
    *_BATCHING,
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "DAGSTER_WEBSERVER_URL",
    # `raw_sales` can drain the topic in a Spark run of its own; large backfills compute on Spark.
    *_STREAM,
)
COMPONENTS: dict[str, tuple[str, ...]] = {
    "migrations": ("OWNER_DATABASE_URL",),
    "stream": (*_STREAM, "STREAM_METRICS_PORT", "METRICS_TOKEN"),
    "producer": (*_KAFKA, "SALES_TOPIC", *_CALENDAR),
    "dagster": _DAGSTER,
    "loader": ("FORECAST_DATABASE_URL", *_CALENDAR),
    "reader": (
        "READER_DATABASE_URL",
        "DAGSTER_WEBSERVER_URL",
        "MLFLOW_TRACKING_URI",
        *_CALENDAR,
    ),
    "service": (
        "READER_DATABASE_URL",
        "PLANNER_DATABASE_URL",
        "DAGSTER_WEBSERVER_URL",
        "DAGSTER_WEBSERVER_TOKEN",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_TOKEN",
        *_KAFKA,
        "SALES_TOPIC",
        "SERVICE_CHARTS_JAR",
        "METRICS_TOKEN",
    ),
    "exporter": (
        "READER_DATABASE_URL",
        "DAGSTER_READER_DATABASE_URL",
        "METRICS_TOKEN",
        *_CALENDAR,
    ),
    "mlflow": (),
}
#: Every variable of the contract, in the order in which `.env` lists them.
VARIABLES = tuple(
    dict.fromkeys(
        (
            "OWNER_DATABASE_URL",
            "STREAM_DATABASE_URL",
            "FORECAST_DATABASE_URL",
            "READER_DATABASE_URL",
            "PLANNER_DATABASE_URL",
            # For the service's clients.
            "FORECAST_SERVICE_URL",
            "FORECAST_SERVICE_TOKEN",
            # For the service, and for the user's own GraphQL.
            "DAGSTER_WEBSERVER_TOKEN",
            "SERVICE_CHARTS_JAR",
            # For the exporter, and for whoever asks for metrics.
            "DAGSTER_READER_DATABASE_URL",
            "METRICS_TOKEN",
            *_DAGSTER,
        )
    )
)
#: For stacks that end before a comparison of recipes would: no challenger is trained.
NO_CHALLENGER = ("FORECAST_CHALLENGER", "none")
MARKER_LINE = (
    "# Written by local_stack for {folder}: it is removed when that stack stops.\n"
    "# Put your own settings into .env.local, which is yours."
)
_MARKER_START = "# Written by local_stack"


def component_environment(
    component: str, values: Mapping[str, str], base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a component's process.

    Args:
        component: A key of `COMPONENTS`.
        values: Values of the contract's variables; those that no service provides are absent.
        base: Environment to inherit from, by default this process's.

    Returns:
        What every service inherits, the component's settings, and its part of the contract.
    """
    settings = own_settings.settings_of(component) - set(VARIABLES)
    clean = inherited.service_base(os.environ if base is None else base, settings)
    # Logs are read while the process runs, so they must not wait in a buffer.
    clean["PYTHONUNBUFFERED"] = "1"
    clean.setdefault(BLAS_VARIABLE, BLAS_THREADS)
    clean["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return clean | {key: values[key] for key in COMPONENTS[component] if key in values}


def write_dotenv(path: Path, values: Mapping[str, str], folder: Path) -> None:
    """Write the `.env` that the command lines read when started in the repository's root.

    Args:
        path: The file; readable by this user alone.
        values: The contract's variables.
        folder: The stack's folder, named in the first line.

    Raises:
        StackError: There is a `.env` that the stack did not write; it is never overwritten.
    """
    refuse_foreign_dotenv(path)
    own_settings.keep_added_lines(path, VARIABLES)
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(MARKER_LINE.format(folder=folder) + "\n")
        for name in VARIABLES:
            if name in values:
                file.write(f"{name}={_quoted(values[name])}\n")
    unfinished.replace(path)


def refuse_foreign_dotenv(path: Path) -> None:
    """Refuse to overwrite a `.env` that the stack did not write.

    Raises:
        StackError: There is one.
    """
    if path.exists() and not _is_ours(path):
        raise StackError(
            f"The stack did not write {path}, and writes its own there: rename yours to "
            f"{path.name}.local, which the stack reads and never changes."
        )


def remove_dotenv(path: Path) -> None:
    """Remove the `.env` if the stack wrote it; settings added to it move to `.env.local`."""
    if path.exists() and _is_ours(path):
        own_settings.keep_added_lines(path, VARIABLES)
        path.unlink()


def repository_settings() -> dict[str, str]:
    """Return Dagster's batching variables, as the asset graph's settings define them."""
    from forecast_assets.settings import DAGSTER_BATCHING

    return {name: str(DAGSTER_BATCHING[name]) for name in _BATCHING}


@contextmanager
def applied(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process while the block runs, for libraries that read them there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(_MARKER_START)


def _quoted(value: str) -> str:
    if not any(character in " #'\"\\$`" for character in value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
