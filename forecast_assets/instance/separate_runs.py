"""The run launcher of `dagster.yaml`: where each run is executed.

Refreshes and other short runs are forked by `run_launcher.py`. Backfills and trainings, which take
long and much memory, can go to a launcher of their own: FORECAST_RUN_LAUNCHER names a file that
says which, such as dagster-docker's or dagster-k8s's, in the form of dagster.yaml's `run_launcher`.
Without the setting, all runs are forked.
"""

import importlib.util
from functools import cached_property
from pathlib import Path

import yaml
from dagster import DagsterRun
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._serdes import ConfigurableClassData

from forecast_assets.instance.run_launcher import ForkingRunLauncher
from forecast_assets.planning.scope import REFRESH_TAG
from forecast_assets.settings import settings

#: Run tag: the class that launched the run, if it was not forked. The UI hides tags with this
#: prefix.
LAUNCHER_TAG = ".dagster/separate_launcher"

#: Jobs whose runs take long if a person requests them. Assets materialized in the UI run as
#: Dagster's own job.
LONG_JOBS = frozenset({"refresh", "train", "__ASSET_JOB"})

_KEYS = {"module", "class", "config"}


def is_long(run: DagsterRun) -> bool:
    """Tell whether a run is a backfill or a training, not a refresh or one of the small jobs."""
    return run.job_name in LONG_JOBS and REFRESH_TAG not in run.tags


def launcher_in(path: Path) -> ConfigurableClassData:
    """Read which launcher a file names.

    Raises:
        ValueError: The file cannot be read, has another form, or names a package that is missing.
    """
    where = f"FORECAST_RUN_LAUNCHER: {path}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    if not isinstance(content, dict) or not {"module", "class"} <= content.keys() <= _KEYS:
        raise ValueError(
            f"{where} must have `module`, `class` and `config`, as run_launcher in dagster.yaml"
        )
    module = str(content["module"])
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise ValueError(
            f"{where} names {module}, which is not installed: install the extra `launchers`, as "
            "the image does, or mend the name"
        )
    config = yaml.safe_dump(content.get("config") or {})
    return ConfigurableClassData(module, str(content["class"]), config)


class SeparatingRunLauncher(ForkingRunLauncher):
    """Forks runs; hands backfills and trainings to another launcher if one is set."""

    @cached_property
    def _separate(self) -> RunLauncher | None:
        """The other launcher; only processes that need it make it.

        A webserver without access to the Docker engine, or a run in a pod, could not.
        """
        path = settings().run_launcher
        if path is None:
            return None
        launcher = launcher_in(path).rehydrate(as_type=RunLauncher)  # type: ignore[type-abstract]
        launcher.register_instance(self._instance)
        return launcher

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run in a process of its own, or where the other launcher puts it.

        Raises:
            ValueError: FORECAST_RUN_LAUNCHER names no usable launcher, or the run has no code
                location.
        """
        run = context.dagster_run
        separate = self._separate if is_long(run) else None
        if separate is None:
            super().launch_run(context)
            return
        # First, since its process may ask for its end before the launch has returned.
        self._instance.add_run_tags(run.run_id, {LAUNCHER_TAG: type(separate).__name__})
        separate.launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end; return whether it can be asked.

        A run elsewhere reads the wish with the connection that holds its lock, within seconds of
        its start. The webserver needs no access to the other launcher's engine for it.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or LAUNCHER_TAG not in run.tags:
            return super().terminate(run_id)
        if run.is_finished or (run.status.value == "STARTED" and not self._holds_lock(run_id)):
            return False
        return self._leave_note(run)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Check whether the process of a run is alive: it holds its lock, or its launcher knows."""
        if LAUNCHER_TAG not in run.tags:
            return super().check_run_worker_health(run)
        if self._holds_lock(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if self._separate is None:
            # The setting was removed meanwhile: the lock alone decides.
            return super().check_run_worker_health(run)
        return self._separate.check_run_worker_health(run)

    def get_run_worker_debug_info(
        self, run: DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return what the other launcher knows of a run that ended unasked."""
        if LAUNCHER_TAG not in run.tags or self._separate is None:
            return None
        return self._separate.get_run_worker_debug_info(run, include_container_logs)

    def dispose(self) -> None:
        """Let the other launcher clean up, if this process made it."""
        if "_separate" in vars(self) and self._separate is not None:
            self._separate.dispose()
        super().dispose()
