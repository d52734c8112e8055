"""What a running stack's data are, for `make status`; the same rules serve checks and alerts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from local_stack.dagster_processes import WEBSERVER
from local_stack.errors import StackError
from local_stack.own_settings import graph_settings
from local_stack.report import last_failed_run
from local_stack.stack import Stack
from local_stack.stream import NAME as STREAM

if TYPE_CHECKING:
    from forecast_assets.planning.health import Problem
    from forecast_assets.planning.health_facts import HealthFacts


def describe_data(stack: Stack, calendar_end: date | None) -> list[str]:
    """Describe a stack's data and its last failed run, one sentence a line.

    Args:
        stack: The stack.
        calendar_end: The last day of its calendar.
    """
    if stack.postgres.port is None or not stack.postgres.is_ready():
        return ["problem: nothing can be said about the data, since PostgreSQL does not answer"]
    return [*_sales_lines(stack, calendar_end), *_run_lines(stack)]


@dataclass(frozen=True)
class SalesHealth:
    """What the health rules look at and say, and two counts beside it."""

    facts: HealthFacts
    problems: list[Problem]
    stores: int
    open_changes: int


def read_health(reader_url: str, calendar_end: date | None) -> SalesHealth:
    """Read a sales database and apply the health rules to it.

    Args:
        reader_url: Its address with the reader's role.
        calendar_end: The last day of its calendar.

    Raises:
        WarehouseError: The database cannot be read.
        StackError: A setting is not allowed, so that the rules have no limits.
    """
    from forecast_assets.planning.health import problems
    from forecast_assets.steps.health import limits_of, read_facts
    from warehouse import health, sales
    from warehouse.connection import Warehouse

    config = graph_settings().model_copy(update={"calendar_end": calendar_end})
    with Warehouse(reader_url).transaction() as transaction:
        facts = read_facts(transaction, config)
        stores = len(sales.stores(transaction))
        open_changes = health.open_changes(transaction)
    return SalesHealth(facts, problems(facts, limits_of(config)), stores, open_changes)


def _sales_lines(stack: Stack, calendar_end: date | None) -> list[str]:
    from forecast_assets.monitoring.reading import READ_ERRORS
    from forecast_assets.planning.status import describe_data as describe

    url = stack.database_urls("sales")["READER_DATABASE_URL"]
    try:
        read = read_health(url, calendar_end)
    except (*READ_ERRORS, StackError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [f"problem: the data cannot be judged: {reason}"]
    # One that was never started, or that was ended on purpose, is not dead.
    recorded = any(record.name == STREAM for record in stack.processes.records())
    return describe(
        read.facts,
        read.problems,
        stores=read.stores,
        open_changes=read.open_changes,
        stream_lives=not recorded or stack.is_running(STREAM),
    )


def _run_lines(stack: Stack) -> list[str]:
    if not stack.is_running(WEBSERVER):
        return []
    try:
        failed = last_failed_run(stack.dagster.graphql_url())
    except (OSError, ValueError) as error:
        return [f"problem: Dagster does not answer ({error})"]
    if failed is None:
        return ["runs: none has failed"]
    return [f"runs: the last that failed is {failed.describe()}, {stack.dagster.url}/{failed.path}"]
