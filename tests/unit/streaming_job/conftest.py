"""A Spark session without Kafka, for the expressions alone."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from streaming_job import session


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session.prepare_environment()
    running = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    running.sparkContext.setLogLevel("ERROR")
    yield running
    running.stop()
