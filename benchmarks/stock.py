"""The embedded stack on Dagster's stock settings, for a comparison in the same run.

"Stock" means three differences: dagster-postgres's own storage, Dagster's default run launcher, and
both event settings at Dagster's defaults. All else stays the same: the rest of `dagster.yaml`, the
assets, the data, the services, the run queue and the sensors.

`benchmarks.freshness` measures this project's settings and the stock settings.
`benchmarks.partitions` measures the cost of the event settings alone.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import yaml

from local_stack import paths
from local_stack.dagster_processes import DAEMON, WEBSERVER, Dagster
from local_stack.environment import component_environment
from local_stack.kafka import NAME as KAFKA
from local_stack.mlflow_server import NAME as MLFLOW
from local_stack.postgres import NAME as POSTGRES
from local_stack.processes import Command, Record
from local_stack.stack import SERVICES, Stack
from local_stack.stream import NAME as STREAM

#: Dagster's own defaults. They must be set, because the assets' definitions set absent variables.
STOCK_EVENT_SETTINGS = {
    "DAGSTER_EVENT_BATCH_SIZE": "0",
    "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "false",
}

EMPTY_DAEMON = "dagster-daemon-empty"


def stock_settings() -> dict[str, Any]:
    """Return `dagster.yaml` with the stock storage and the stock run launcher."""
    settings: dict[str, Any] = yaml.safe_load((paths.REPOSITORY / "dagster.yaml").read_text())
    del settings["run_launcher"]
    settings["storage"] = {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    return settings


class StockDagster(Dagster):
    """The embedded Dagster with an instance of stock settings."""

    def prepare(self) -> None:
        """Write the instance's settings in place of the link to the repository's `dagster.yaml`."""
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / "dagster.yaml"
        file.unlink(missing_ok=True)
        file.write_text(yaml.safe_dump(stock_settings()))


class SwitchableStack(Stack):
    """A stack that can restart Dagster's services on other settings and keep the data."""

    #: Variables that differ from the contract's.
    overrides: Mapping[str, str] = MappingProxyType({})

    @property
    def environment(self) -> dict[str, str]:
        """The contract's variables, with the current overrides."""
        return super().environment | self.overrides

    def switch_to_stock(self) -> None:
        """Restart Dagster's services on stock settings."""
        self._restart_dagster(StockDagster(self.processes), STOCK_EVENT_SETTINGS)

    def train_challenger(self, recipe: str) -> None:
        """Restart Dagster's services with a challenger, whose training a sensor then requests."""
        self._restart_dagster(Dagster(self.processes), {"FORECAST_CHALLENGER": recipe})

    def _restart_dagster(self, dagster: Dagster, overrides: Mapping[str, str]) -> None:
        others = SERVICES - {POSTGRES, KAFKA, MLFLOW, STREAM, DAEMON, WEBSERVER}
        for name in (DAEMON, WEBSERVER, *sorted(others)):
            self.stop_service(name)
        self.dagster = dagster
        self.overrides = overrides
        self.start_services(SERVICES)

    def start_empty_runs(self) -> Record:
        """Replace the daemon by another that requests empty runs, one after the other."""
        self.stop_service(DAEMON)
        return self.processes.start(
            Command(
                name=EMPTY_DAEMON,
                arguments=[
                    paths.script("dagster-daemon"),
                    "run",
                    "--module-name",
                    "benchmarks.empty_run",
                ],
                environment=component_environment("dagster", self.environment),
                whole_family=True,
            )
        )
