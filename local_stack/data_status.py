"""What a running stack's data are, for `make status`; the same rules serve checks and alerts."""

from __future__ import annotations

from datetime import date

from local_stack.dagster_processes import WEBSERVER
from local_stack.report import last_failed_run
from local_stack.stack import Stack


def describe_data(stack: Stack, calendar_end: date | None) -> list[str]:
    """Describe a stack's data and its last failed run, one sentence a line.

    Args:
        stack: The stack; without PostgreSQL there is nothing to say.
        calendar_end: The last day of its calendar.
    """
    if stack.postgres.port is None or not stack.postgres.is_ready():
        return []
    return [*_sales_lines(stack, calendar_end), *_run_lines(stack)]


def _sales_lines(stack: Stack, calendar_end: date | None) -> list[str]:
    from forecast_assets.planning.health import problems
    from forecast_assets.planning.status import describe_data as describe
    from forecast_assets.settings import settings
    from forecast_assets.steps.health import limits_of, read_facts
    from warehouse import health, sales
    from warehouse.connection import Warehouse
    from warehouse.errors import WarehouseError

    config = settings().model_copy(update={"calendar_end": calendar_end})
    url = stack.database_urls("sales")["READER_DATABASE_URL"]
    try:
        with Warehouse(url).transaction() as transaction:
            facts = read_facts(transaction, config)
            stores = len(sales.stores(transaction))
            open_changes = health.open_changes(transaction)
    except WarehouseError as error:
        return [f"problem: {error}"]
    violated = problems(facts, limits_of(config))
    return describe(facts, violated, stores=stores, open_changes=open_changes)


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
