"""The peers' jars, which PySpark's Ivy fetches once. Flink itself is installed in `flink.py`."""

import subprocess
from pathlib import Path

from benchmarks.ingest import flink

#: Where setup and the benchmarks keep jars.
JARS = Path(__file__).resolve().parents[2] / ".jars"

Coordinates = tuple[str, str, str]
_JDBC_DRIVER: Coordinates = ("org.postgresql", "postgresql", "42.7.8")
_KAFKA_CONNECT: list[Coordinates] = [
    ("org.apache.kafka", "connect-runtime", "4.3.1"),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"),
    ("io.debezium", "debezium-connector-jdbc", "3.4.0.Final"),
]


def peer_jars(way: str) -> Path:
    """Return the jar or the folder of jars that a way needs; fetch them if they are missing.

    Raises:
        subprocess.CalledProcessError: Ivy cannot fetch the jars; `stderr` says why.
    """
    if way.startswith("jdbc"):
        folder = _fetch(JARS / "bench-jdbc", [_JDBC_DRIVER])
        return next(folder.glob("postgresql-*.jar"))
    if way.startswith("kafka_connect"):
        return _fetch(JARS / "bench-connect", [*_KAFKA_CONNECT, _JDBC_DRIVER])
    if way == "flink":
        return _fetch(JARS / "bench-flink", [*flink.JARS, _JDBC_DRIVER])
    return JARS


def _fetch(folder: Path, coordinates: list[Coordinates]) -> Path:
    import pyspark

    if any(folder.glob("*.jar")):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    spark_jars = Path(pyspark.__file__).parent / "jars"
    # Maven's "runtime" and "master" leave out sources, and optional parts that exclude each other.
    dependencies = "".join(
        f'<dependency org="{organisation}" name="{module}" rev="{version}" '
        'conf="default->runtime,master"/>'
        for organisation, module, version in coordinates
    )
    description = folder / "ivy.xml"
    description.write_text(
        '<ivy-module version="2.0"><info organisation="local" module="bench"/>'
        f'<configurations><conf name="default"/></configurations>'
        f"<dependencies>{dependencies}</dependencies></ivy-module>"
    )
    subprocess.run(
        [
            *("java", "-cp", f"{spark_jars}/*", "org.apache.ivy.Main"),
            *("-ivy", str(description)),
            *("-retrieve", f"{folder}/[artifact]-[revision](-[classifier]).[ext]"),
        ],
        check=True,
        capture_output=True,
    )
    for extra in (*folder.glob("*-sources.jar"), *folder.glob("*-javadoc.jar")):
        extra.unlink()
    return folder
