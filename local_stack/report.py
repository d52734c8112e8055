"""What the tables and Dagster say about a running stack: only questions, asked as the reader."""

from dataclasses import dataclass
from datetime import date
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


@dataclass(frozen=True)
class StreamTotals:
    """What the stream's ledger says of a topic, over its topic-partitions."""

    stored: int
    quarantined: int


@dataclass(frozen=True)
class Progress:
    """How far the assets are.

    Attributes:
        open_changes: Changes that no refresh has closed.
        trained: Whether a pooled model is there.
        stores: Stores with a forecast in force.
    """

    open_changes: int
    trained: bool
    stores: int

    @property
    def is_forecast(self) -> bool:
        """Whether a trained model has forecast all that is known."""
        return self.trained and self.stores > 0 and not self.open_changes


class Report:
    """Questions to the sales database.

    Args:
        database_url: Address for the role that may only read.
    """

    def __init__(self, database_url: str) -> None:
        """Opens the connection; each question sees what is committed when it is asked."""
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def progress(self) -> Progress:
        """Returns how far the assets are."""
        row = self._row(
            """
            SELECT (SELECT count(*) FROM sales.changes WHERE done_at IS NULL) AS open_changes,
                EXISTS (SELECT FROM sales.pooled_models) AS trained,
                (SELECT count(*) FROM sales.current_forecasts WHERE horizon = 1) AS stores
            """
        )
        return Progress(row["open_changes"], row["trained"], row["stores"])

    def stores_with_origin(self, origin: date) -> int:
        """Returns how many stores' forecasts in force have seen a day's sales."""
        return int(
            self._row(
                "SELECT count(*) AS count FROM sales.current_forecasts "
                "WHERE horizon = 1 AND origin >= %s",
                origin,
            )["count"]
        )

    def stream_totals(self, topic: str) -> StreamTotals:
        """Returns what the ledger says of a topic."""
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
        """Returns the number of stores and of days that the forecasts from an origin cover."""
        row = self._row(
            "SELECT count(DISTINCT store) AS stores, count(DISTINCT date) AS days "
            "FROM sales.current_forecasts WHERE origin = %s",
            origin,
        )
        return row["stores"], row["days"]

    def next_days(self, stores: int, days: int) -> list[dict[str, Any]]:
        """Returns forecasts in force of the first stores for their next open days.

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
        """Returns how the forecasts that were issued compare with the days that came later.

        Returns:
            Row with days (compared store days), rmspe, and inside (share within the 80 %
            interval); rmspe and inside are None when nothing can be compared.
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
    """Returns the number of materialized partitions by asset.

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
    """Returns the runs that have begun and not ended, as job and id."""
    return _runs(graphql_url, _RUNS_IN_PROGRESS)


def failed_runs(graphql_url: str) -> list[str]:
    """Returns the newest failed runs, as job and id."""
    return _runs(graphql_url, _FAILED_RUNS)


def _runs(graphql_url: str, query: str) -> list[str]:
    results = graphql(graphql_url, query)["runsOrError"].get("results", [])
    return [f"{run['jobName']} {run['runId']}" for run in results]
