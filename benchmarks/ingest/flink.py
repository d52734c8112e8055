"""Flink's installation, its command and its SQL script, which `processes.py` runs.

Flink is installed from the Python package of its Java libraries, in a separate virtual environment.
Its connectors come from Maven Central. Its SQL client runs the query in one process.
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streaming_job.broker_access import broker_access

LIBRARIES = "apache-flink-libraries==2.0.0"
JARS = [
    ("org.apache.flink", "flink-sql-gateway", "2.0.0"),
    ("org.apache.flink", "flink-sql-connector-kafka", "4.0.1-2.0"),
    ("org.apache.flink", "flink-connector-jdbc-core", "4.0.0-2.0"),
    ("org.apache.flink", "flink-connector-jdbc-postgres", "4.0.0-2.0"),
]
# The options that Flink's own start script passes to Java 17.
_OPEN = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        "java.lang",
        "java.net",
        "java.io",
        "java.nio",
        "java.text",
        "java.time",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "java.util.concurrent.locks",
        "sun.nio.ch",
    )
]


def install(folder: Path) -> Path:
    """Install Flink under a folder if it is not there yet; return Flink's own folder.

    Raises:
        subprocess.CalledProcessError: The installation fails; `stderr` says why.
    """
    if not _sql_clients(folder):
        venv.create(folder, with_pip=True, clear=True)
        # Flink's setup script needs a setuptools that still contains pkg_resources. The one of a
        # new environment, from before 70.1, cannot build wheels without further packages.
        for packages in (["setuptools>=70.1,<81"], ["--no-build-isolation", LIBRARIES]):
            python = str(folder / "bin" / "python")
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--no-deps", *packages],
                check=True,
                capture_output=True,
                text=True,
            )
    return _sql_clients(folder)[0].parent.parent


def _sql_clients(folder: Path) -> list[Path]:
    return sorted(folder.glob("lib/python3*/site-packages/pyflink/opt/flink-sql-client-*.jar"))


def command(flink: Path, connectors: Path, settings: Any, folder: Path) -> list[str]:
    """Return the command that loads the whole topic into `sales.raw_sales` and then exits.

    Args:
        flink: Flink's folder.
        connectors: The folder with the jars of the connectors and of PostgreSQL's driver.
        settings: The stream's settings: broker, topic, database.
        folder: A private folder for the script, because the script holds the password.
    """
    script = folder / "flink.sql"
    script.touch(mode=0o600)
    script.write_text(_script(settings))
    (folder / "config.yaml").write_text(
        "execution.target: local\n"
        "parallelism.default: 2\n"
        "taskmanager.numberOfTaskSlots: 2\n"
        # Delivery is at least once, as for any JDBC sink without a key. Checkpoints also flush
        # the sink's buffered rows.
        "execution.checkpointing.interval: 5s\n"
        "table.dml-sync: true\n"
    )
    path = f"{flink}/lib/*:{flink}/opt/*:{connectors}/*"
    client = "org.apache.flink.table.client.SqlClient"
    return ["java", "-Xmx2g", *_OPEN, "-cp", path, client, "embedded", "-f", str(script)]


def _script(settings: Any) -> str:
    options = broker_access().java_options("properties.")
    access = "".join(f"'{name}' = '{value}', " for name, value in options.items())
    address = urlsplit(settings.database_url)
    url = f"jdbc:postgresql://{address.hostname}:{address.port}{address.path}"
    return f"""
CREATE TABLE events (
    `Store` INT, `DayOfWeek` INT, `Date` DATE, `Sales` INT, `Customers` INT, `Open` INT,
    `Promo` INT, `StateHoliday` STRING, `SchoolHoliday` INT,
    topic_partition INT METADATA FROM 'partition' VIRTUAL,
    kafka_offset BIGINT METADATA FROM 'offset' VIRTUAL,
    event_time TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL
) WITH (
    'connector' = 'kafka', 'topic' = '{settings.sales_topic}', 'format' = 'json',
    'properties.bootstrap.servers' = '{settings.kafka_bootstrap_servers}',
    {access}
    'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
);
CREATE TABLE raw_sales (
    stream_id SMALLINT, topic_partition INT, kafka_offset BIGINT, event_time TIMESTAMP(3),
    store INT, `date` DATE, day_of_week SMALLINT, sales INT, customers INT, `open` SMALLINT,
    promo SMALLINT, state_holiday STRING, school_holiday SMALLINT
) WITH (
    'connector' = 'jdbc', 'url' = '{url}?reWriteBatchedInserts=true',
    'table-name' = 'sales.raw_sales', 'username' = '{address.username}',
    'password' = '{address.password}',
    'sink.buffer-flush.max-rows' = '10000', 'sink.buffer-flush.interval' = '1s'
);
INSERT INTO raw_sales SELECT
    CAST(1 AS SMALLINT), topic_partition, kafka_offset, CAST(event_time AS TIMESTAMP(3)),
    `Store`, `Date`, CAST(`DayOfWeek` AS SMALLINT), `Sales`, `Customers`,
    CAST(`Open` AS SMALLINT), CAST(`Promo` AS SMALLINT), `StateHoliday`,
    CAST(`SchoolHoliday` AS SMALLINT)
FROM events;
"""
