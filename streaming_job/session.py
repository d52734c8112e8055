"""The SparkSession and its configuration.

Only `build_session` starts one here; `forecast_assets` starts its own with `spark_config`.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from streaming_job.environment import forget_foreign_variables
from streaming_job.errors import SettingsError, UnavailableError
from streaming_job.settings import SparkSettings, StreamSettings

APP_NAME = "sales-stream"
KAFKA_SOURCE_JAR = "spark-sql-kafka-0-10"
#: Largest Arrow batch; an event can be as large as the broker allows.
ARROW_BYTES_PER_BATCH = "64m"
#: How often an idle query polls the broker; Spark's default of 10 ms keeps a fifth of a core busy.
#: Measured for Spark and Kafka together: 0.11 cores at 100 ms, 0.06 at 500 ms; an event waits half
#: of it on average.
IDLE_POLL = "500ms"
LOOPBACK = "127.0.0.1"
#: Where Spark's processes look for a cluster's secret first (`SecurityManager.ENV_AUTH_SECRET`).
SECRET_VARIABLE = "_SPARK_AUTH_SECRET"  # noqa: S105 - a name
#: Seconds that a cluster's first executor may take to reach the driver: a start takes about ten.
EXECUTOR_SECONDS = 45.0
EXECUTOR_POLL_SECONDS = 0.2
#: Seconds that a master may take to accept a connection.
MASTER_SECONDS = 5.0


def spark_config(settings: StreamSettings) -> dict[str, str]:
    """Return Spark's configuration for the stream; a session made elsewhere needs it too.

    Raises:
        SettingsError: The Kafka source's jars are missing.
    """
    folder = settings.spark_jars_dir
    jars = sorted(folder.glob("*.jar"))
    if not any(jar.name.startswith(KAFKA_SOURCE_JAR) for jar in jars):
        raise SettingsError(
            f"no {KAFKA_SOURCE_JAR}*.jar in {folder}: run `make setup`, "
            "or set SPARK_JARS_DIR to the folder that holds it"
        )
    config = {
        # As addresses: a path may contain a comma or a blank.
        "spark.jars": ",".join(jar.resolve().as_uri() for jar in jars),
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxBytesPerBatch": ARROW_BYTES_PER_BATCH,
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # The sink's options contain the database's password.
        "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|credential",
        "spark.sql.streaming.stopTimeout": "30s",
        "spark.sql.streaming.pollingDelay": IDLE_POLL,
    }
    config |= cluster_config(settings.spark_master, settings)
    if settings.spark_driver_java_options:
        config["spark.driver.extraJavaOptions"] = settings.spark_driver_java_options
    return config


def cluster_config(master: str, settings: SparkSettings) -> dict[str, str]:
    """Return where the driver is reached, and what it asks for.

    Its two ports are open to every user of the machine, or of the network. For a driver in one
    process Spark makes the secret itself; a cluster needs one that its workers know.
    """
    config: dict[str, str] = {}
    if master.startswith("local"):
        # Its executors are on this machine, whatever is set for a cluster.
        config |= dict.fromkeys(("spark.driver.host", "spark.driver.bindAddress"), LOOPBACK)
    else:
        if settings.spark_driver_host is not None:
            config["spark.driver.host"] = settings.spark_driver_host
        if settings.spark_driver_bind_address is not None:
            config["spark.driver.bindAddress"] = settings.spark_driver_bind_address
        if settings.spark_max_cores is not None:
            # Whoever takes all keeps them as long as it lives, and the next driver gets none.
            config["spark.cores.max"] = str(settings.spark_max_cores)
    if _is_one_process(master):
        config["spark.authenticate"] = "true"
    elif settings.spark_authenticate_secret is not None:
        # Spark wants to find one here, and prefers the one of its environment. PySpark passes this
        # one on as an argument, which `ps` shows to everybody.
        config |= {
            "spark.authenticate": "true",
            "spark.authenticate.secret": f"see {SECRET_VARIABLE}",
        }
    return config


def _is_one_process(master: str) -> bool:
    return re.fullmatch(r"local(\[[^]]*\])?", master) is not None


def await_executor(spark: SparkSession, seconds: float = EXECUTOR_SECONDS) -> None:
    """Wait until a cluster's first executor has reached the driver; without a cluster, return.

    Without the wait, a query on executors that cannot reach the driver hangs without a word: the
    cluster starts one after the other, and each of them ends.

    Raises:
        UnavailableError: None has come; the message says what to look at.
    """
    context = spark.sparkContext
    master = str(context.master)
    if _is_one_process(master):
        return
    deadline = time.monotonic() + seconds
    # The driver itself is in the list.
    while len(context._jsc.sc().statusTracker().getExecutorInfos()) < 2:
        if time.monotonic() > deadline:
            host = context.getConf().get("spark.driver.host")
            raise UnavailableError(
                f"no executor of {master} has reached the driver at {host} within "
                f"{seconds:.0f} s: set SPARK_DRIVER_HOST to a name by which the workers reach this "
                "process, give master, workers and driver the same SPARK_AUTHENTICATE_SECRET, and "
                "see whether a worker has cores and memory to spare (SPARK_MAX_CORES bounds what "
                "another driver takes)"
            )
        time.sleep(EXECUTOR_POLL_SECONDS)


def check_master(master: str) -> None:
    """Refuse a standalone cluster that does not answer; Spark itself would take a minute.

    Raises:
        UnavailableError: None of its masters accepts a connection.
    """
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), MASTER_SECONDS):
                return
        except (OSError, ValueError):
            continue
    raise UnavailableError(
        f"Spark's master does not answer at {master}: start it, or set SPARK_MASTER to where it is"
    )


def prepare_environment() -> None:
    """Let Spark run on this Java, and its Python workers on this interpreter with this package.

    What the shell exports for another Spark or another Java is removed.
    """
    forget_foreign_variables()
    settings = SparkSettings()
    if settings.java_home is not None:
        os.environ["JAVA_HOME"] = str(settings.java_home)
    if settings.spark_defaults_dir is not None:
        os.environ["SPARK_CONF_DIR"] = str(settings.spark_defaults_dir.resolve())
    if settings.spark_authenticate_secret is not None:
        os.environ[SECRET_VARIABLE] = settings.spark_authenticate_secret.get_secret_value()
    # Otherwise Java finds no file whose name has other letters than English.
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)


def build_session(settings: StreamSettings) -> SparkSession:
    """Start Spark, which takes several seconds.

    Raises:
        SettingsError: The jars are missing, or Spark does not start.
        UnavailableError: The cluster does not answer, or its executors do not reach the driver.
    """
    prepare_environment()
    check_master(settings.spark_master)
    builder = SparkSession.builder.master(settings.spark_master).appName(APP_NAME)
    for name, value in spark_config(settings).items():
        builder = builder.config(name, value)
    try:
        spark = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise SettingsError(
            f"Spark does not start ({type(error).__name__}): it needs Java 17 or 21 from "
            "JAVA_HOME or PATH"
        ) from error
    spark.sparkContext.setLogLevel("ERROR")
    try:
        await_executor(spark)
    except UnavailableError:
        spark.stop()
        raise
    return spark
