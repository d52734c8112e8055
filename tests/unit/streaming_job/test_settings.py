"""Settings, the sink's options, and refusals that need neither broker nor database."""

import socket
from datetime import date
from unittest.mock import Mock

import pytest

from streaming_job import source
from streaming_job.audit import PartitionAudit
from streaming_job.errors import RefusedError, SettingsError, UnavailableError
from streaming_job.session import await_executor, check_master, cluster_config, spark_config
from streaming_job.settings import SparkSettings, load_settings
from streaming_job.sink import SinkOptions
from streaming_job.transform import Calendar

URL = "postgresql://u:s3cret@127.0.0.1/sales"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> pytest.MonkeyPatch:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("STREAM_DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "SALES_CALENDAR_END"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(SettingsError, match="STREAM_DATABASE_URL"):
        load_settings()


def test_an_empty_end_of_the_calendar_is_open(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STREAM_DATABASE_URL", URL)
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    environment.setenv("SALES_CALENDAR_END", "")
    settings = load_settings(sales_calendar_start="2015-01-01")
    assert (settings.sales_calendar_start, settings.sales_calendar_end) == (date(2015, 1, 1), None)
    assert "s3cret" not in repr(settings)


def test_a_wrong_database_does_not_show_its_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(SettingsError) as caught:
        load_settings(stream_database_url="mysql://u:s3cret@h/d")
    assert "postgresql://" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("option", ["minPartitions", "maxRecordsPerPartition"])
def test_options_that_split_a_topic_partition_are_refused(option: str) -> None:
    settings = load_settings(stream_database_url=URL, kafka_bootstrap_servers="127.0.0.1:1")
    start = source.Start(1, "sales", "uuid", {0: 5})
    with pytest.raises(RefusedError, match=option):
        source.read_stream(None, start, settings, {option: "8"})  # type: ignore[arg-type]
    assert start.starting_offsets == '{"sales": {"0": 5}}'


def test_jars_in_any_folder_are_named_so_that_spark_finds_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "späte Größe, 1"
    folder.mkdir()
    (folder / "spark-sql-kafka-0-10_2.13-4.jar").touch()
    settings = load_settings(
        stream_database_url=URL, kafka_bootstrap_servers="h:1", spark_jars_dir=folder
    )
    (address,) = spark_config(settings)["spark.jars"].split(",")
    assert address.startswith("file:///") and address.isascii() and " " not in address


@pytest.mark.parametrize(
    ("master", "makes_a_secret"),
    [
        ("local", True),
        ("local[2,4]", True),
        ("local[*]", True),
        ("local-cluster[2,1,1024]", False),
        ("spark://master:7077", False),
    ],
)
def test_a_driver_in_one_process_asks_for_a_secret(master: str, makes_a_secret: bool) -> None:
    assert ("spark.authenticate" in cluster_config(master, SparkSettings())) == makes_a_secret


def test_a_cluster_gets_the_drivers_address_and_the_secret() -> None:
    settings = SparkSettings(
        spark_driver_host="stream",
        spark_driver_bind_address="0.0.0.0",  # noqa: S104
        spark_authenticate_secret="s3cret",  # type: ignore[arg-type]
        spark_max_cores=3,
    )
    assert cluster_config("spark://master:7077", settings) == {
        "spark.driver.host": "stream",
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104
        "spark.cores.max": "3",
        "spark.authenticate": "true",
        "spark.authenticate.secret": "see _SPARK_AUTH_SECRET",
    }, "its value would be an argument of a process"
    assert cluster_config("spark://master:7077", SparkSettings()) == {}, "Spark's own choice"
    alone = cluster_config("local[2,4]", settings)
    assert alone == {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.authenticate": "true",
    }


def _session_with(master: str, executors: int) -> Mock:
    spark = Mock()
    spark.sparkContext.master = master
    spark.sparkContext.getConf().get.return_value = "127.0.0.1"
    tracker = spark.sparkContext._jsc.sc().statusTracker()
    tracker.getExecutorInfos.return_value = [object()] * (1 + executors)
    return spark


def test_executors_that_do_not_reach_the_driver_are_one_line_that_names_the_settings() -> None:
    with pytest.raises(UnavailableError, match="SPARK_DRIVER_HOST") as refused:
        await_executor(_session_with("spark://master:7077", 0), seconds=0.3)
    assert "\n" not in str(refused.value)
    await_executor(_session_with("spark://master:7077", 1), seconds=0.3)
    await_executor(_session_with("local[2,4]", 0), seconds=0.3)


def test_a_master_that_does_not_answer_is_named() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            check_master(f"spark://127.0.0.1:{port}")
        listening.listen()
        check_master(f"spark://127.0.0.1:{port}")
        # Of several masters, one is enough.
        check_master(f"spark://127.0.0.1:1,127.0.0.1:{port}")
    check_master("local[2,4]")


def test_missing_jars_say_what_to_do(tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings = load_settings(
        stream_database_url=URL, kafka_bootstrap_servers="h:1", spark_jars_dir=tmp_path
    )
    with pytest.raises(SettingsError, match="make setup"):
        spark_config(settings)


def test_sink_options_travel_and_hide_the_password() -> None:
    calendar = Calendar(date(2013, 1, 1), None)
    options = SinkOptions(URL, "h:1", "sales", "uuid", 3, calendar, 30, 60)
    assert SinkOptions.from_options(options.as_options()) == options
    (name,) = [key for key, value in options.as_options().items() if "s3cret" in value]
    assert "secret" in name.lower()
    assert "lock_timeout%3D30s" in options.session_url


BALANCED = PartitionAudit("sales", 1, 0, 10, 20, 6, 2, 1, 1, 6, 2, 8, 10, 19)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"next_offset": 21}, "accounted"),
        ({"raw_rows": 5, "distinct_offsets": 7}, "raw_sales has 5"),
        ({"quarantine_rows": 3, "distinct_offsets": 9}, "quarantined_events has 3"),
        ({"distinct_offsets": 7}, "share"),
        ({"lowest": 9}, "before"),
        ({"highest": 20}, "beyond"),
        ({"next_offset": None}, "without a ledger"),
    ],
)
def test_the_ledgers_arithmetic_finds_each_fault(changes: dict[str, int], word: str | None) -> None:
    faults = PartitionAudit(**(vars(BALANCED) | changes)).faults()
    assert (faults == []) if word is None else any(word in fault for fault in faults)
