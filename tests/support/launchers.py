"""A run launcher that notes what it is asked, beside the one that forks."""

from __future__ import annotations

from typing import Any, ClassVar

import dagster as dg
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._serdes import ConfigurableClass, ConfigurableClassData


class NotingLauncher(RunLauncher, ConfigurableClass):
    """Launches nothing; answers as its configuration says."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, inst_data: ConfigurableClassData | None, status: str) -> None:
        self._inst_data, self._status = inst_data, WorkerStatus(status)
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"status": dg.Field(str, default_value="RUNNING")}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> NotingLauncher:
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        # It has the instance of its run, as a launcher of dagster.yaml has.
        assert self._instance.get_run_by_id(context.dagster_run.run_id) is not None
        self.asked.append(("launch", context.dagster_run.run_id))

    def terminate(self, run_id: str) -> bool:
        raise AssertionError("the note reaches a run, wherever it is")

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        self.asked.append(("health", run.run_id))
        return CheckRunHealthResult(self._status)

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        return f"the container of {run.run_id}"

    def dispose(self) -> None:
        self.asked.append(("dispose", ""))
