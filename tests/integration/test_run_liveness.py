"""Runs are found dead, and end when asked, whoever started them and whatever their host was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from forecast_assets.instance import run_launcher
from forecast_assets.instance.run_launcher import PROCESS_TAG
from local_stack import paths
from local_stack.stack import Stack

SECONDS = 60.0

#: A run of a command line: no launcher started it.
COMMAND_LINE = """
import time
import dagster as dg

@dg.op
def waits():
    time.sleep(600)

@dg.job(executor_def=dg.in_process_executor)
def endless():
    waits()

endless.execute_in_process(instance=dg.DagsterInstance.get())
"""


@pytest.fixture
def instance(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", stack.environment["DAGSTER_POSTGRES_URL"])
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(run_launcher, "LOCK_GRACE_SECONDS", 1.0)
    (tmp_path / "dagster.yaml").symlink_to(paths.REPOSITORY / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def run_of_a_command_line(
    instance: dg.DagsterInstance,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A run that is at work, and its process."""
    before = {run.run_id for run in instance.get_runs()}
    process = subprocess.Popen([sys.executable, "-c", COMMAND_LINE])

    def started() -> list[str]:
        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        return [run.run_id for run in runs if run.run_id not in before]

    try:
        wait_until(lambda: bool(started()))
        (run_id,) = started()
        yield process, run_id
    finally:
        process.kill()
        process.wait()
        instance.delete_run(run_id)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def status(instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return instance.run_launcher.check_run_worker_health(run).status


@pytest.mark.parametrize("host", [None, "a-container-that-was-recreated"])
def test_a_killed_run_is_found_dead(
    instance: dg.DagsterInstance,
    run_of_a_command_line: tuple[subprocess.Popen[bytes], str],
    host: str | None,
) -> None:
    process, run_id = run_of_a_command_line
    if host is not None:
        instance.add_run_tags(run_id, {PROCESS_TAG: f"{host} {process.pid} {time.time():.0f}"})
    for _ in range(10):
        assert status(instance, run_id) is WorkerStatus.RUNNING
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: status(instance, run_id) is WorkerStatus.NOT_FOUND)


@pytest.mark.parametrize("host", [None, "another-container"])
def test_a_run_that_lives_elsewhere_ends_when_asked(
    instance: dg.DagsterInstance,
    run_of_a_command_line: tuple[subprocess.Popen[bytes], str],
    host: str | None,
) -> None:
    process, run_id = run_of_a_command_line
    if host is not None:
        # Number 1 is somebody else's process here: it must get no signal.
        instance.add_run_tags(run_id, {PROCESS_TAG: f"{host} 1 {time.time():.0f}"})
    assert instance.run_launcher.terminate(run_id)
    process.wait(SECONDS)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert not instance.run_launcher.terminate(run_id), "it has ended"


def test_a_run_whose_process_is_gone_cannot_be_asked(
    instance: dg.DagsterInstance, run_of_a_command_line: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, run_id = run_of_a_command_line
    process.kill()
    process.wait()
    wait_until(lambda: not instance.event_log_storage.run_locks.is_held(run_id))
    assert not instance.run_launcher.terminate(run_id)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.STARTED


def test_a_living_run_takes_its_lock_again_after_a_restart_of_the_database(
    instance: dg.DagsterInstance,
    run_of_a_command_line: tuple[subprocess.Popen[bytes], str],
    stack: Stack,
) -> None:
    _, run_id = run_of_a_command_line
    locks = instance.event_log_storage.run_locks
    assert locks.is_held(run_id)
    with stack.postgres.admin_connection("postgres") as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        )
    wait_until(lambda: locks.is_held(run_id))
