"""Queries about a running stack: to the sales database as the reader, and to Dagster's GraphQL."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from local_stack.http import graphql

_PARTITIONS = "{ assetNodes { assetKey { path } partitionStats { numMaterialized } } }"
_RUNS_IN_PROGRESS = """
{ runsOrError(filter: {statuses: [STARTING, STARTED, CANCELING]}) {
    ... on Runs { results { runId jobName } }
} }
"""

_FAILED_RUNS = """
{ runsOrError(filter: {statuses: [FAILURE]}, limit: 5) { ... on Runs { results {
    runId jobName
} } } }
"""


_LAST_FAILED_RUN = """
{ runsOrError(filter: {statuses: [FAILURE]}, limit: 1) { ... on Runs { results {
    runId jobName endTime
} } } }
"""


@dataclass(frozen=True)
class FailedRun:
    """A run that failed, and when it ended."""

    run_id: str
    job: str
    ended: datetime | None

    @property
    def path(self) -> str:
        """Its page in Dagster's UI."""
        return f"runs/{self.run_id}"

    def describe(self) -> str:
        """Return its job and its end."""
        return self.job + (f" of {self.ended:%Y-%m-%d %H:%M} UTC" if self.ended else "")


@dataclass(frozen=True)
class StreamTotals:
    """The stream ledger's totals over a topic's topic-partitions."""

    stored: int
    quarantined: int


@dataclass(frozen=True)
class Progress:
    """The progress of refreshes and training.

    Attributes:
        open_changes: Changes that no refresh has closed.
        trained: Whether there is a pooled model.
        stores: Stores with a forecast in force.
    """

    open_changes: int
    trained: bool
    stores: int

    @property
    def is_forecast(self) -> bool:
        """Whether a trained model has forecast everything that was loaded."""
        return self.trained and self.stores > 0 and not self.open_changes


class Report:
    """Queries to the sales database.

    Args:
        database_url: Address for the role that may only read.
    """

    def __init__(self, database_url: str) -> None:
        """Open the connection; each query sees what is committed when it runs."""
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def progress(self) -> Progress:
        """Return the progress of refreshes and training."""
        row = self._row(
            """
            SELECT (SELECT count(*) FROM sales.changes WHERE done_at IS NULL) AS open_changes,
                EXISTS (SELECT FROM sales.pooled_models) AS trained,
                (SELECT count(*) FROM sales.current_forecasts WHERE horizon = 1) AS stores
            """
        )
        return Progress(row["open_changes"], row["trained"], row["stores"])

    def stores_with_origin(self, origin: date) -> int:
        """Return the number of stores whose forecasts in force have seen a day's sales."""
        return int(
            self._row(
                "SELECT count(*) AS count FROM sales.current_forecasts "
                "WHERE horizon = 1 AND origin >= %s",
                origin,
            )["count"]
        )

    def stream_totals(self, topic: str) -> StreamTotals:
        """Return the ledger's totals for a topic."""
        row = self._row(
            """
            SELECT coalesce(sum(o.stored), 0)::bigint AS stored,
                coalesce(sum(o.quarantined), 0)::bigint AS quarantined
            FROM sales.stream_offsets o JOIN sales.streams s USING (stream_id)
            WHERE s.topic = %s
            """,
            topic,
        )
        return StreamTotals(row["stored"], row["quarantined"])

    def forecast_days(self, origin: date) -> tuple[int, int]:
        """Return the number of stores and of days that the forecasts from an origin cover."""
        row = self._row(
            "SELECT count(DISTINCT store) AS stores, count(DISTINCT date) AS days "
            "FROM sales.current_forecasts WHERE origin = %s",
            origin,
        )
        return row["stores"], row["days"]

    def next_days(self, stores: int, days: int) -> list[dict[str, Any]]:
        """Return the forecasts in force of a few stores for their next open days.

        Args:
            stores: Number of stores.
            days: Number of open days of each.

        Returns:
            Rows with store, origin, date, point, low and high (the 80 % interval).
        """
        return self._rows(
            """
            SELECT store, origin, date, point, q0_1 AS low, q0_9 AS high FROM (
                SELECT *, row_number() OVER (PARTITION BY store ORDER BY date) AS position
                FROM sales.current_forecasts
                WHERE open = 1 AND store IN (
                    SELECT DISTINCT store FROM sales.current_forecasts ORDER BY store LIMIT %s)
            ) AS ranked
            WHERE position <= %s ORDER BY store, date
            """,
            stores,
            days,
        )

    def issued_against_actual(self) -> dict[str, Any]:
        """Compare issued forecasts with the sales that followed.

        Returns:
            Row with days (store days compared), rmspe, and inside (share within the 80 %
            interval); rmspe and inside are None when there is nothing to compare.
        """
        return self._row(
            """
            SELECT count(*) AS days,
                sqrt(avg(power((c.sales - f.point) / c.sales, 2))) AS rmspe,
                avg((c.sales BETWEEN f.q0_1 AND f.q0_9)::int)::float8 AS inside
            FROM (
                SELECT DISTINCT ON (store, origin, date) * FROM sales.forecasts
                WHERE kind = 'issued' ORDER BY store, origin, date, written_at DESC
            ) AS f
            JOIN sales.cleaned_sales c USING (store, date)
            WHERE c.sales > 0
            """
        )

    def _rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self._connection.execute(query.encode(), parameters).fetchall()

    def _row(self, query: str, *parameters: object) -> dict[str, Any]:
        return self._rows(query, *parameters)[0]


def materialized_partitions(graphql_url: str) -> dict[str, int]:
    """Return the number of materialized partitions by asset.

    Args:
        graphql_url: Address of Dagster's GraphQL endpoint.
    """
    nodes = graphql(graphql_url, _PARTITIONS)["assetNodes"]
    return {
        "/".join(node["assetKey"]["path"]): node["partitionStats"]["numMaterialized"]
        for node in nodes
        if node["partitionStats"] is not None
    }


def runs_in_progress(graphql_url: str) -> list[str]:
    """Return the runs in progress, as job and id."""
    return _runs(graphql_url, _RUNS_IN_PROGRESS)


def failed_runs(graphql_url: str) -> list[str]:
    """Return the newest failed runs, as job and id."""
    return _runs(graphql_url, _FAILED_RUNS)


def last_failed_run(graphql_url: str) -> FailedRun | None:
    """Return the newest failed run; None if none has failed."""
    for run in graphql(graphql_url, _LAST_FAILED_RUN)["runsOrError"].get("results", []):
        ended = datetime.fromtimestamp(run["endTime"], UTC) if run["endTime"] else None
        return FailedRun(run["runId"], run["jobName"], ended)
    return None


def _runs(graphql_url: str, query: str) -> list[str]:
    results = graphql(graphql_url, query)["runsOrError"].get("results", [])
    return [f"{run['jobName']} {run['runId']}" for run in results]
