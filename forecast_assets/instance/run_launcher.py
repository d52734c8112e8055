"""Starts runs in processes forked from one that has the libraries loaded, and watches them.

Dagster's own launcher starts a fresh Python for every run: two to three seconds of imports before
anything happens, and it cannot tell whether a run's process still lives. `dagster.yaml` names the
class here; the daemon launches runs with it, and asks for their health.

Only libraries are loaded beforehand, never this project: a run has the code as it is at its start.
"""

import multiprocessing
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

PROCESS_TAG = ".dagster/process"
"""Where a run lives: machine, process number, and when it was launched (epoch seconds). The UI
does not show tags that begin like this."""

CLOCK_TOLERANCE_SECONDS = 2.0
"""A process's start is counted from the machine's, whose own time wobbles by a second."""

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
"""What a refresh imports, and takes long. None of it may start a thread that a fork would miss."""


class ForkingRunLauncher(RunLauncher, ConfigurableClass):
    """Runs as processes of the daemon's machine, forked from a server without threads."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        """Starts nothing: the webserver and the command line make launchers too."""
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What `dagster.yaml` says."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No settings."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ForkingRunLauncher":
        """Makes the launcher from `dagster.yaml`."""
        return cls(inst_data)

    @cached_property
    def _processes(self) -> Any:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        return context

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts a run's process.

        Raises:
            ValueError: The run has no code to run: it was not made from a workspace.
        """
        run = context.dagster_run
        if context.job_code_origin is None:
            raise ValueError(f"run {run.run_id} names no job of a code location")
        arguments = ExecuteRunArgs(context.job_code_origin, run.run_id, self._instance.get_ref())
        # A daemon that ends in order ends its runs; one that is killed leaves them running.
        process = self._processes.Process(
            target=_execute, args=(serialize_value(arguments),), daemon=True
        )
        process.start()
        place = f"{platform.node()} {process.pid} {time.time():.0f}"
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: place})

    def terminate(self, run_id: str) -> bool:
        """Asks a run's process to end; returns whether there was one on this machine."""
        run = self._instance.get_run_by_id(run_id)
        process = _process_of(run) if run is not None and not run.is_finished else None
        if run is None or process is None:
            return False
        self._instance.report_run_canceling(run)
        process.send_signal(signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Lets run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run lives.

        Nothing can be said against runs that nobody launched (of `dagster asset materialize`), and
        against those of another machine.
        """
        tag = run.tags.get(PROCESS_TAG)
        if tag is None or tag.split()[0] != platform.node() or _process_of(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"its process is gone ({tag})")


def _execute(arguments: str) -> None:
    """The body of a run's process: what `dagster api execute_run` does in a fresh one."""
    from dagster._cli import cli

    # It ends with the daemon, but may have children: Dagster's multiprocess executor does.
    multiprocessing.current_process().daemon = False
    cli(["api", "execute_run", arguments], standalone_mode=False)


def _process_of(run: DagsterRun) -> psutil.Process | None:
    """The process of a run, if it lives on this machine.

    One that began after the launch has the number of one that is gone.
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
