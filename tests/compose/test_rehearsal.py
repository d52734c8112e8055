"""The containers for real: they end in forecasts, come back when killed, and are contained.

The tests follow each other on one stack, as a day of operations would.
"""

from __future__ import annotations

import json
import logging
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from local_stack import network
from tests.compose.containers import (
    FIRST_FORECASTS_SECONDS,
    REFRESH_SECONDS,
    TERMINATE,
    Containers,
)

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.compose, pytest.mark.timeout(3600)]

#: Service -> the ports on which it listens for other containers.
DOORS = {
    "postgres": {5432},
    "kafka": {9092},
    "mlflow": {5000},
    "stream": {9464},
    "code-server": set[int](),
    "dagster-webserver": {3000},
    "dagster-daemon": set[int](),
    "forecast-service": {8080},
    "exporter": {9880},
}
TEMPORARY = "/tmp"  # noqa: S108 - in the container
#: Service -> what it may write to besides kernel file systems and /tmp.
WRITABLE = {
    "postgres": {"/var/lib/postgresql/data", "/run/postgresql"},
    "mlflow": {"/var/lib/app"},
    "stream": {"/var/lib/app/checkpoints"},
    "code-server": {"/var/lib/code-server", "/var/lib/dagster"},
    "dagster-webserver": {"/var/lib/code-server", "/var/lib/dagster"},
    "dagster-daemon": {"/var/lib/code-server", "/var/lib/dagster"},
    "forecast-service": set[str](),
}


def test_a_start_ends_in_forecasts_of_every_store(containers: Containers) -> None:
    def is_forecast() -> bool:
        return bool(
            containers.value("sales", "SELECT count(*) FROM sales.stores")
            == containers.value(
                "sales", "SELECT count(DISTINCT store) FROM sales.current_forecasts"
            )
            > 0
        )

    seconds = containers.wait(is_forecast, FIRST_FORECASTS_SECONDS, "the first forecasts")
    log.info(f"forecasts of every store {seconds:.0f} s after the start")
    listed = containers.inside(
        "forecast-service", "python", "-m", "forecast_assets", "forecast", "--store", "7",
        "--format", "json",
    )  # fmt: skip
    assert len(json.loads(listed)) == 7


def test_a_second_start_changes_nothing(containers: Containers) -> None:
    """One-shot services run again and find everything there."""
    before = containers.value("sales", "SELECT count(*) FROM sales.raw_sales")
    ids = {name: containers.inspect(name)["Id"] for name in DOORS}
    containers.start()
    assert containers.value("sales", "SELECT count(*) FROM sales.raw_sales") == before
    assert {name: containers.inspect(name)["Id"] for name in DOORS} == ids
    assert "already loaded" in containers.logs("load")
    assert "stays as it is" in containers.logs("topics")


def test_events_become_forecasts(containers: Containers) -> None:
    before = containers.newest_refresh()
    sent = containers.produce_last_day()
    assert sent > 0
    seconds = containers.wait(
        lambda: containers.newest_refresh() > before and containers.open_changes() == 0,
        REFRESH_SECONDS,
        "forecasts with the events",
    )
    log.info(f"{sent} events became forecasts within {seconds:.0f} s")
    said = containers.inside("stream", "python", "-m", "streaming_job", "audit", "--deep")
    assert "nothing lost or duplicated" in said


def test_nothing_runs_as_root_and_nothing_can_become_it(containers: Containers) -> None:
    for name in DOORS:
        status = containers.inside(name, "cat", "/proc/self/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split(), name
        # Effective, permitted, inheritable, bounding: none.
        assert {int(fields[cap], 16) for cap in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {0}
        assert fields["NoNewPrivs"] == "1", name


def test_what_can_be_written_is_what_must_be(containers: Containers) -> None:
    kernel = ("/proc", "/sys", "/dev")
    for name, expected in WRITABLE.items():
        mounts = [
            line.split() for line in containers.inside(name, "cat", "/proc/mounts").splitlines()
        ]
        writable = {
            mount[1]
            for mount in mounts
            if "rw" in mount[3].split(",")
            and not mount[1].startswith(kernel)
            # Docker writes these three itself; they are root's.
            and mount[1] not in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
        }
        assert writable - {TEMPORARY} == expected, name
    # Files of the code are root's besides.
    owners = containers.inside("dagster-daemon", "find", "/app", "-not", "-user", "root")
    assert owners == ""


def test_who_listens_for_other_containers(containers: Containers) -> None:
    for name, expected in DOORS.items():
        # Kafka's image and PostgreSQL's have no Python; a neighbour reads their tables for them.
        pid = containers.inspect(name)["State"]["Pid"]
        lines = [
            line
            for kind in ("tcp", "tcp6")
            for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
        ]
        listening = set()
        for line in lines:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            is_own = address.endswith("7F") or address.endswith("00000000000000000000000001000000")
            if state == "0A" and not is_own:
                listening.add(int(port, 16))
        # Spark's driver listens on loopback, which is the container's own.
        assert listening == expected, name


def test_the_uis_ask_for_their_tokens_through_the_published_ports(containers: Containers) -> None:
    for name in ("STACK_UI_PORT", "STACK_MLFLOW_PORT"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://{network.LOOPBACK}:{containers.setting(name)}/")
    assert containers.graphql("{ version }")["version"]


def test_the_network_reads_the_streams_metrics(containers: Containers) -> None:
    code = (
        "import os, urllib.request as r; "
        "token = {'Authorization': 'Bearer ' + os.environ['METRICS_TOKEN']}; "
        "print(r.urlopen(r.Request('http://stream:9464/metrics', headers=token)).read().decode())"
    )
    assert "stream_stored_total" in containers.inside("forecast-service", "python", "-c", code)


def test_the_webserver_has_the_logs_of_the_daemons_runs(containers: Containers) -> None:
    run_id = containers.value(
        "dagster",
        "SELECT run_id FROM runs WHERE status = 'SUCCESS' AND pipeline_name = 'refresh' LIMIT 1",
    )
    folder = f"/var/lib/dagster/storage/{run_id}/compute_logs"
    logs = containers.inside("dagster-webserver", "sh", "-c", f"cat {folder}/*.err")
    assert run_id in logs


def test_a_run_is_ended_from_the_webserver(containers: Containers) -> None:
    month = containers.value("sales", "SELECT date_trunc('month', max(date)) FROM sales.raw_sales")
    run_id = containers.launch("train", {"dagster/partition": f"{month:%Y-%m-01}"})
    containers.wait(
        lambda: containers.run_status(run_id) == "STARTED", REFRESH_SECONDS, "the training"
    )
    answer = containers.graphql(TERMINATE % run_id)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    seconds = containers.wait(
        lambda: containers.run_status(run_id) == "CANCELED", 60, "the end of the training"
    )
    log.info(f"the training ended {seconds:.0f} s after the click")


def _is_consistent(containers: Containers) -> bool:
    return containers.open_changes() == 0 and containers.running("refresh") is None


@pytest.mark.parametrize(
    "killed",
    [("dagster-daemon",), ("code-server",), ("stream",), ("dagster-webserver", "mlflow")],
    ids="+".join,
)
def test_a_container_that_is_killed_in_a_refresh_and_made_anew_loses_nothing(
    containers: Containers, killed: tuple[str, ...]
) -> None:
    before = containers.newest_refresh()
    containers.produce_last_day()
    # In the middle: the sensor's run is at work.
    containers.wait(
        lambda: containers.running("refresh") or containers.newest_refresh() > before,
        REFRESH_SECONDS,
        "a refresh to kill",
    )
    old = {name: containers.inspect(name)["Id"] for name in killed}
    containers.recreate(*killed)
    assert all(containers.inspect(name)["Id"] != before_id for name, before_id in old.items())
    seconds = containers.wait(
        lambda: containers.newest_refresh() > before and _is_consistent(containers),
        REFRESH_SECONDS,
        "the forecasts after it",
    )
    log.info(f"{'+'.join(killed)} made anew: forecasts after {seconds:.0f} s")


@pytest.mark.parametrize("crashed", ["postgres", "kafka", "stream", "dagster-daemon"])
def test_a_container_that_crashes_comes_back_by_itself(
    containers: Containers, crashed: str
) -> None:
    before = containers.newest_refresh()
    restarts = containers.inspect(crashed)["RestartCount"]
    containers.crash(crashed)
    containers.wait(
        lambda: containers.inspect(crashed)["RestartCount"] > restarts, 60, "its restart"
    )
    containers.wait(
        lambda: (
            containers.inspect(crashed)["State"].get("Health", {}).get("Status", "healthy")
            == "healthy"
        ),
        REFRESH_SECONDS,
        "its health",
    )
    containers.produce_last_day()
    containers.wait(
        lambda: containers.newest_refresh() > before and _is_consistent(containers),
        REFRESH_SECONDS,
        "forecasts after the crash",
    )


def test_a_backup_brings_everything_back_and_the_stream_goes_on(
    containers: Containers, tmp_path: Path
) -> None:
    """What was sent after the backup is read from Kafka again."""
    stored = "SELECT count(*) FROM sales.raw_sales"
    archive = tmp_path / "archive.tar"

    def make(word: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return containers.script(word, tmp_path / "docker", FILE=str(archive), **variables)

    saved = make("backup")
    assert saved.returncode == 0, saved.stderr
    assert archive.stat().st_mode & 0o777 == 0o600
    at_backup = containers.value("sales", stored)
    sent = containers.produce_last_day()
    containers.wait(
        lambda: (
            containers.value("sales", stored) == at_backup + sent and _is_consistent(containers)
        ),
        REFRESH_SECONDS,
        "forecasts with what was sent after the backup",
    )
    running = make("restore", REPLACE="1")
    assert running.returncode == 1 and "End the containers first" in running.stderr
    assert make("down").returncode == 0
    refused = make("restore")
    assert refused.returncode == 1 and "Nothing was restored" in refused.stderr, refused.stderr

    restored = make("restore", REPLACE="1")
    assert restored.returncode == 0, restored.stderr
    containers.start("postgres")
    containers.wait(
        lambda: containers.value("sales", stored) == at_backup, 60, "what the archive holds"
    )
    containers.start()
    seconds = containers.wait(
        lambda: (
            containers.value("sales", stored) == at_backup + sent and _is_consistent(containers)
        ),
        FIRST_FORECASTS_SECONDS,
        "forecasts after the restore",
    )
    log.info(f"restored: {sent} events read again, forecasts after {seconds:.0f} s")


def test_every_event_of_all_this_is_there_exactly_once(containers: Containers) -> None:
    said = containers.inside("stream", "python", "-m", "streaming_job", "audit", "--deep")
    log.info(said)
    assert "nothing lost or duplicated" in said
