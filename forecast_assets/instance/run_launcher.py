"""A run launcher that forks runs from a process with the libraries already imported.

Dagster's default launcher starts a fresh Python for every run, which spends two to three seconds on
imports, and it cannot tell whether a run's process is alive. `dagster.yaml` configures the class
here; the daemon launches runs with it and checks their health.

Only libraries are preloaded, never this project, so a run uses the code as of its start.
"""

import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import psutil
from dagster import DagsterRun
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from forecast_assets.instance.liveness import END_TAG, RENEW_SECONDS
from forecast_assets.instance.storage import RunLockingEventLog

#: Run tag: how much the run's process gives way to others on the same processors (`nice`, 1 to 19).
NICENESS_TAG = "forecast/niceness"

#: Run tag: the machine, process id and launch time (epoch seconds) of a run. The UI hides tags with
#: this prefix.
PROCESS_TAG = ".dagster/process"

#: A process's start time is computed from the machine's boot time, which is off by up to a second.
CLOCK_TOLERANCE_SECONDS = 2.0

#: Seconds without a lock after which a run of unknown whereabouts counts as dead.
LOCK_GRACE_SECONDS = 3 * RENEW_SECONDS

#: Modules that a refresh imports and that take long. None of them may start a thread: a forked
#: process would not have it.
PRELOADED = [
    "dagster",
    "dagster._cli",
    "dagster.components",
    "dagster_postgres",
    "psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "pandas",
    "pyarrow",
    "pydantic_settings",
    "adbc_driver_postgresql.dbapi",
]


class ForkingRunLauncher(RunLauncher, ConfigurableClass):
    """Launches runs as processes on the daemon's machine, forked from a single-threaded server."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Start nothing: the webserver and the command line create launchers too."""
        self._inst_data = inst_data
        self._unlocked_since: dict[str, float] = {}
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The configuration in `dagster.yaml`."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of the configuration, which is empty."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ForkingRunLauncher":
        """Create the launcher from `dagster.yaml`."""
        return cls(inst_data)

    @cached_property
    def _processes(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        return context

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run's process.

        Raises:
            ValueError: The run has no code location: it was not created from a workspace.
        """
        run = context.dagster_run
        if context.job_code_origin is None:
            raise ValueError(f"run {run.run_id} has no code location; launch it from a workspace")
        arguments = ExecuteRunArgs(context.job_code_origin, run.run_id, self._instance.get_ref())
        # A daemon that exits normally ends its runs; one that is killed leaves them running.
        niceness = int(run.tags.get(NICENESS_TAG, "0"))
        process = self._processes.Process(
            target=_execute, args=(serialize_value(arguments), niceness), daemon=True
        )
        process.start()
        place = f"{platform.node()} {process.pid} {time.time():.0f}"
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: place})

    def terminate(self, run_id: str) -> bool:
        """Ask a run's process to end; return whether there is one that can be asked.

        A process elsewhere (the webserver and the daemon have containers of their own) reads the
        wish within `RENEW_SECONDS`, with the connection that holds its lock.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        process = _process_of(run)
        if process is not None:
            self._instance.report_run_canceling(run)
            process.send_signal(signal.SIGTERM)
            return True
        return self._holds_lock(run_id) and self._leave_note(run)

    def _leave_note(self, run: DagsterRun) -> bool:
        """Leave the note by which a run's process ends, wherever it is; return True."""
        self._instance.report_run_canceling(run)
        self._instance.add_run_tags(run.run_id, {END_TAG: "yes"})
        return True

    def _holds_lock(self, run_id: str) -> bool:
        """Return whether a process holds a run's lock; in another storage there are none."""
        event_log = self._instance.event_log_storage
        return isinstance(event_log, RunLockingEventLog) and event_log.run_locks.is_held(run_id)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Enable health checks by run monitoring."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Check whether the process of a run is alive.

        The process table knows the runs that were launched on this machine. All others (`dagster
        asset materialize`, another host, a container that was recreated) hold a lock.
        """
        tag = run.tags.get(PROCESS_TAG)
        if tag is not None and tag.split()[0] == platform.node():
            if _process_of(run) is not None:
                return CheckRunHealthResult(WorkerStatus.RUNNING)
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"its process is gone ({tag})")
        if not self._has_lost_its_lock(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"no process holds its lock ({tag or 'not launched'})"
        )

    def _has_lost_its_lock(self, run_id: str) -> bool:
        """Return whether nobody has held a run's lock for `LOCK_GRACE_SECONDS`.

        A restart of PostgreSQL frees all locks; living runs take theirs again within seconds. With
        another storage than this project's there are no locks, and the run counts as alive.
        """
        event_log = self._instance.event_log_storage
        if not isinstance(event_log, RunLockingEventLog) or event_log.run_locks.is_held(run_id):
            self._unlocked_since.pop(run_id, None)
            return False
        since = self._unlocked_since.setdefault(run_id, time.monotonic())
        return time.monotonic() - since >= LOCK_GRACE_SECONDS


def _execute(arguments: str, niceness: int) -> None:
    """Run in the forked process what `dagster api execute_run` runs in a fresh one.

    Args:
        arguments: Serialized arguments of `dagster api execute_run`.
        niceness: How much the process gives way to others; 0 changes nothing.
    """
    from dagster._cli import cli

    os.nice(niceness)
    # Daemonic processes may not have children, but the multiprocess executor starts some.
    multiprocessing.current_process().daemon = False
    cli(["api", "execute_run", arguments], standalone_mode=False)


def _process_of(run: DagsterRun) -> psutil.Process | None:
    """Return the process of a run if it is alive on this machine.

    A process that started after the launch is another one that has reused the process id.
    """
    if PROCESS_TAG not in run.tags:
        return None
    machine, pid, launched = run.tags[PROCESS_TAG].split()
    if machine != platform.node():
        return None
    try:
        process = psutil.Process(int(pid))
        began = process.create_time() - CLOCK_TOLERANCE_SECONDS
        lives = process.status() != psutil.STATUS_ZOMBIE and began <= float(launched)
    except psutil.NoSuchProcess:
        return None
    return process if lives else None
