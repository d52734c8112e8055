"""A chain of stores in a running stack: forecasts of its whole history, and days still to come."""

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
from local_stack.dagster_processes import DAEMON
from local_stack.data_plan import DataPlan, plan_of_files
from local_stack.http import graphql
from local_stack.report import Report
from local_stack.stack import SERVICES, TOPIC, Stack
from local_stack.steps import load
from rossmann.sample_data import sample_files
from streaming_job.producer import produce

LAST_DAY = date(2015, 6, 19)
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 900.0

_UNDER_WAY = """
{ runsOrError(filter: {pipelineName: "refresh", statuses: [QUEUED, STARTING, STARTED]}) {
    ... on Runs { results { runId } }
} }
"""


class Chain:
    """The running stack, the data that it plays, and what tells how far it is."""

    def __init__(self, stack: Stack, plan: DataPlan) -> None:
        """Opens the connections that measure.

        Args:
            stack: All services run.
            plan: The data; its live days have not been sent.
        """
        self.stack, self.plan = stack, plan
        self.report = Report(stack.environment["READER_DATABASE_URL"])
        self._database = psycopg.connect(
            stack.environment["READER_DATABASE_URL"], autocommit=True, row_factory=dict_row
        )

    def send(self, rows: pd.DataFrame) -> float:
        """Sends events; returns the time (epoch) at which the last was acknowledged."""
        produce(rows, bootstrap_servers=self.stack.kafka.bootstrap_servers, topic=TOPIC)
        return time.time()

    def send_alone(self, rows: pd.DataFrame) -> float:
        """Sends events once the refresh before has ended; returns when they were acknowledged."""
        self.wait(self.is_idle, "the end of the refresh before")
        return self.send(rows)

    def wait_for_forecasts(self, day: date) -> None:
        """Waits until every store that sold on a day is forecast from it."""
        stores = self.plan.rows_of(day)["Store"].nunique()
        self.wait(lambda: self.report.stores_with_origin(day) >= stores, f"forecasts from {day}")

    def wait(self, done: Callable[[], bool], what: str) -> None:
        """Waits for a condition.

        Raises:
            SystemExit: It does not come to hold.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
            time.sleep(POLL_SECONDS)

    def is_settled(self) -> bool:
        """Whether no change is open."""
        return not self.report.progress().open_changes

    def is_idle(self) -> bool:
        """Whether no refresh runs: what it does after its forecasts is no part of the next day."""
        return not graphql(self.stack.dagster.graphql_url(), _UNDER_WAY)["runsOrError"]["results"]

    def row(self, query: str, *parameters: object) -> dict[str, Any]:
        """The one row that a query finds."""
        (row,) = self._database.execute(query.encode(), parameters).fetchall()
        return row


@contextmanager
def forecast_chain(
    data: Path | None, stores: int, history_days: int, live_days: int, folder: Path
) -> Iterator[Chain]:
    """Starts the whole stack and waits for its first forecasts; ends it with the block.

    Args:
        data: A folder with Kaggle's files, of which the last days are played live; None makes
            sales up.
        stores: How many stores are made up.
        history_days: How many days of them are history.
        live_days: How many days are still to come.
        folder: Where to work.
    """
    if data is None:
        data = folder / "data"
        sample_files(stores, history_days + live_days, LAST_DAY, seed=1).write(data)
    plan = plan_of_files(data, live_days)
    with Stack.temporary(folder / "stack", {"postgres"}, calendar=plan.calendar) as stack:
        load(stack, plan, Console())
        stack.start_services(SERVICES - {DAEMON})
        began = time.monotonic()
        stack.start_services(SERVICES)
        chain = Chain(stack, plan)
        chain.wait(lambda: chain.report.progress().is_forecast, "the first forecasts")
        say(f"{plan.stores:,} stores; first refresh and training {time.monotonic() - began:.1f} s")
        yield chain
