"""The SparkSession and its configuration.

Only `build_session` starts one here; `forecast_assets` starts its own with `spark_config`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from streaming_job.environment import forget_foreign_variables
from streaming_job.errors import SettingsError
from streaming_job.settings import SparkSettings, StreamSettings

APP_NAME = "sales-stream"
KAFKA_SOURCE_JAR = "spark-sql-kafka-0-10"
#: Largest Arrow batch; an event can be as large as the broker allows.
ARROW_BYTES_PER_BATCH = "64m"
#: How often an idle query polls the broker; Spark's default of 10 ms keeps a fifth of a core busy.
#: Measured for Spark and Kafka together: 0.11 cores at 100 ms, 0.06 at 500 ms; an event waits half
#: of it on average.
IDLE_POLL = "500ms"


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
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        # The sink's options contain the database's password.
        "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|credential",
        "spark.sql.streaming.stopTimeout": "30s",
        "spark.sql.streaming.pollingDelay": IDLE_POLL,
    }
    config |= authentication(settings.spark_master)
    if settings.spark_driver_java_options:
        config["spark.driver.extraJavaOptions"] = settings.spark_driver_java_options
    return config


def authentication(master: str) -> dict[str, str]:
    """Return the settings by which a driver in one process answers nobody but itself.

    Its two ports are open to every user of the machine. Spark makes the secret itself; a cluster
    needs one that its workers know, `spark.authenticate.secret` in spark-defaults.conf.
    """
    is_local = re.fullmatch(r"local(\[[^]]*\])?", master)
    return {"spark.authenticate": "true"} if is_local else {}


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
    # Otherwise Java finds no file whose name has other letters than English.
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)


def build_session(settings: StreamSettings) -> SparkSession:
    """Start Spark, which takes several seconds.

    Raises:
        SettingsError: The jars are missing, or Spark does not start.
    """
    prepare_environment()
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
    return spark
