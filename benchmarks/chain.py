"""A running stack with a chain of stores that has its first forecasts and more days to send.

The measurements on it are in `benchmarks.freshness`, `benchmarks.idle` and `benchmarks.pages`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from benchmarks.common import say
from benchmarks.stock import SwitchableStack
from local_stack.dagster_processes import DAEMON
from local_stack.data_plan import DataPlan, plan_of_files
from local_stack.http import graphql
from local_stack.report import Report
from local_stack.stack import SERVICES, TOPIC
from local_stack.steps import load
from rossmann.sample_data import sample_files
from streaming_job.producer import produce

#: The last day of made-up sales.
LAST_DAY = date(2015, 6, 19)
POLL_SECONDS = 0.05
#: Seconds to wait for a condition before the benchmark fails.
PATIENCE_SECONDS = 900.0

_UNFINISHED_REFRESHES = """
{ runsOrError(filter: {pipelineName: "refresh", statuses: [QUEUED, STARTING, STARTED]}) {
    ... on Runs { results { runId } }
} }
"""


class Chain:
    """The running stack, the data that it plays, and questions about its progress."""

    def __init__(self, stack: SwitchableStack, plan: DataPlan) -> None:
        """Open the connections that measure.

        Args:
            stack: A stack with all services running.
            plan: The data; none of its live days has been sent.
        """
        self.stack, self.plan = stack, plan
        self.report = Report(stack.environment["READER_DATABASE_URL"])
        self._database = psycopg.connect(
            stack.environment["READER_DATABASE_URL"], autocommit=True, row_factory=dict_row
        )

    def send(self, rows: pd.DataFrame) -> float:
        """Send events; return the time (epoch) at which the last one was acknowledged."""
        produce(
            rows,
            bootstrap_servers=self.stack.kafka.bootstrap_servers,
            topic=TOPIC,
            access=self.stack.kafka.access,
        )
        return time.time()

    def send_alone(self, rows: pd.DataFrame) -> float:
        """Send events once no refresh runs; return the time of the last acknowledgement."""
        self.wait(self.is_idle, "the end of the previous refresh")
        return self.send(rows)

    def wait_for_forecasts(self, day: date) -> None:
        """Wait until every store that sold on a day has a forecast from it."""
        stores = self.plan.rows_of(day)["Store"].nunique()
        self.wait(lambda: self.report.stores_with_origin(day) >= stores, f"forecasts from {day}")

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Wait for a condition.

        Raises:
            SystemExit: The condition did not hold within `PATIENCE_SECONDS`.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
            time.sleep(POLL_SECONDS)

    def is_settled(self) -> bool:
        """Return whether no change is open."""
        return not self.report.progress().open_changes

    def is_idle(self) -> bool:
        """Return whether no refresh runs.

        A refresh still works after its forecasts, which would slow down the next day's refresh.
        """
        results = self.dagster(_UNFINISHED_REFRESHES)["runsOrError"]["results"]
        return not results

    def dagster(self, query: str) -> dict[str, Any]:
        """Return the answer of Dagster's GraphQL endpoint."""
        return graphql(self.stack.dagster.graphql_url(), query)

    def row(self, query: str, *parameters: object) -> dict[str, Any]:
        """Return the only row of a query's result."""
        (row,) = self._database.execute(query.encode(), parameters).fetchall()
        return row


@contextmanager
def forecast_chain(
    data: Path | None, stores: int, history_days: int, live_days: int, folder: Path
) -> Iterator[Chain]:
    """Start the whole stack and wait for its first forecasts; stop it at the end of the block.

    Args:
        data: A folder with Kaggle's files, whose last days are played live. None makes up sales.
        stores: Number of made-up stores.
        history_days: Number of made-up days that are history.
        live_days: Number of days that can be sent.
        folder: Folder for the stack and the data.
    """
    if data is None:
        data = folder / "data"
        sample_files(stores, history_days + live_days, LAST_DAY, seed=1).write(data)
    plan = plan_of_files(data, live_days)
    postgres_only = {"postgres"}
    with SwitchableStack.temporary(
        folder / "stack", postgres_only, calendar=plan.calendar
    ) as stack:
        load(stack, plan, Console())
        stack.start_services(SERVICES - {DAEMON})
        start = time.monotonic()
        stack.start_services(SERVICES)
        chain = Chain(stack, plan)
        chain.wait(lambda: chain.report.progress().is_forecast, "the first forecasts")
        say(f"{plan.stores:,} stores; first refresh and training {time.monotonic() - start:.1f} s")
        yield chain
