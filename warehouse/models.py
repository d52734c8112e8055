"""Statements on pooled models, which never change, and on the stores' coefficients by period.

Models are fitted in `forecasting/models`. Stored models forecast in `forecaster.py`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

from forecasting.models.model_format import MODEL_FORMAT
from warehouse import sales
from warehouse.connection import Transaction

#: SELECT list of a `PooledVersion`.
_VERSION_COLUMNS = (
    "version, trained_until, recipe, mlflow_run_id, mlflow_version, metrics::text AS metrics, "
    "format, model"
)


_NEWEST = """
SELECT {columns} FROM sales.pooled_models
WHERE trained_until <= $1 AND format = $2
ORDER BY trained_until DESC, created_at DESC LIMIT 1
"""


@dataclass(frozen=True)
class Champion:
    """The pooled model that serves, without the model itself.

    Attributes:
        version: The model's version.
        recipe: The model's recipe.
        created_at: When it was stored.
        metrics: The model's accuracy on past origins, by name.
    """

    version: str
    recipe: str
    created_at: datetime
    metrics: dict[str, float]


@dataclass(frozen=True)
class PooledVersion:
    """A stored pooled model, still as bytes."""

    version: str
    trained_until: date
    recipe: str
    mlflow_run_id: str | None
    mlflow_version: str | None
    metrics: dict[str, float]
    format: str
    model: bytes


def add_pooled(
    transaction: Transaction,
    *,
    version: str,
    period_start: date,
    trained_until: date,
    recipe: str,
    mlflow_run_id: str | None,
    mlflow_version: str | None,
    metrics: dict[str, float],
    model: bytes,
) -> None:
    """Store a trained pooled model under a new version, with the format of its bytes."""
    transaction.execute(
        """
        INSERT INTO sales.pooled_models
            (version, period_start, trained_until, recipe, mlflow_run_id, mlflow_version, metrics,
            model, format)
        VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
        """,
        (
            version,
            period_start,
            trained_until,
            recipe,
            mlflow_run_id,
            mlflow_version,
            json.dumps(metrics),
            model,
            MODEL_FORMAT,
        ),
    )


def pooled_for(transaction: Transaction, origin: date) -> PooledVersion | None:
    """Return the newest pooled model trained on no day after an origin; None if there is none.

    Models in another format are skipped, because this version of the code cannot read them.
    """
    rows = transaction.rows(_NEWEST.format(columns=_VERSION_COLUMNS), (origin, MODEL_FORMAT))
    return _version(rows[0]) if rows else None


def champion(transaction: Transaction) -> Champion | None:
    """Return the newest readable pooled model without its bytes; None before the first.

    The model itself, several megabytes with trees, is not read.
    """
    columns = "version, recipe, created_at, metrics::text AS metrics"
    rows = transaction.rows(_NEWEST.format(columns=columns), (date.max, MODEL_FORMAT))
    if not rows:
        return None
    row = rows[0]
    return Champion(row["version"], row["recipe"], row["created_at"], json.loads(row["metrics"]))


def count_pooled(transaction: Transaction) -> int:
    """Count the pooled models that this version of the code can read."""
    return int(
        transaction.value(
            "SELECT count(*) FROM sales.pooled_models WHERE format = $1", (MODEL_FORMAT,)
        )
    )


def newest_feature_day(transaction: Transaction) -> date | None:
    """Return the newest day with features up to today (UTC); None if there is none."""
    newest: date | None = transaction.value(
        "SELECT max(date) FROM sales.features WHERE date <= $1", (sales.today(),)
    )
    return newest


def pooled(transaction: Transaction, version: str) -> PooledVersion:
    """Return a pooled model by its version."""
    (row,) = transaction.rows(
        f"""
        SELECT {_VERSION_COLUMNS} FROM sales.pooled_models
        WHERE version = $1
        """,
        (version,),
    )
    return _version(row)


def by_pooled_version(
    transaction: Transaction, origins: dict[int, date]
) -> Iterator[tuple[PooledVersion | None, dict[int, date]]]:
    """Group stores by the newest pooled model trained on no day after their origin.

    Args:
        transaction: The open transaction.
        origins: Last day that each store's model may use.

    Yields:
        A pooled model (None for stores that no pooled model serves), and its stores' origins.
    """
    groups: dict[str | None, dict[int, date]] = {}
    versions: dict[str | None, PooledVersion | None] = {}
    newest = {origin: pooled_for(transaction, origin) for origin in set(origins.values())}
    for store, origin in origins.items():
        version = newest[origin]
        name = version.version if version else None
        versions[name] = version
        groups.setdefault(name, {})[store] = origin
    for name, group in groups.items():
        yield versions[name], group


def fitted_days(
    transaction: Transaction, stores: Sequence[int], period_start: date
) -> dict[int, tuple[date, str | None]]:
    """Return the last day seen by each store's model of a period, and its pooled version."""
    rows = transaction.rows(
        """
        SELECT store, trained_until, pooled_version FROM sales.models
        WHERE period_start = $2 AND store = ANY($1::int4[])
        """,
        (list(stores), period_start),
    )
    return {row["store"]: (row["trained_until"], row["pooled_version"]) for row in rows}


def carry_over(transaction: Transaction, stores: Sequence[int], period_start: date) -> set[int]:
    """Copy the newest earlier models into a period for stores without a model there.

    Returns:
        The stores whose models were copied.
    """
    rows = transaction.rows(
        """
        INSERT INTO sales.models
            (store, period_start, trained_until, pooled_version, n_days, residual_scale,
             largest_day, median_day, coefficients)
        SELECT DISTINCT ON (store) store, $2::date, trained_until, pooled_version, n_days,
            residual_scale, largest_day, median_day, coefficients
        FROM sales.models WHERE store = ANY($1::int4[]) AND period_start < $2
        ORDER BY store, period_start DESC
        ON CONFLICT (period_start, store) DO NOTHING
        RETURNING store
        """,
        (list(stores), period_start),
    )
    return {row["store"] for row in rows}


def clear_store_models(transaction: Transaction, stores: Sequence[int], period_start: date) -> None:
    """Delete the models of some stores and a period."""
    transaction.execute(
        "DELETE FROM sales.models WHERE period_start = $2 AND store = ANY($1::int4[])",
        (list(stores), period_start),
    )


def replace_store_models(
    transaction: Transaction, rows: pd.DataFrame, stores: Sequence[int], period_start: date
) -> int:
    """Replace the models of some stores and a period; return the number of rows written."""
    clear_store_models(transaction, stores, period_start)
    return transaction.insert("models", rows.assign(period_start=period_start))


def store_models(
    transaction: Transaction, stores: Sequence[int], period_start: date
) -> pd.DataFrame:
    """Return the models of some stores and a period."""
    return transaction.frame(
        """
        SELECT store, trained_until, pooled_version, n_days, residual_scale, largest_day,
            median_day, coefficients
        FROM sales.models WHERE period_start = $2 AND store = ANY($1::int4[]) ORDER BY store
        """,
        (list(stores), period_start),
    )


def store_models_at(transaction: Transaction, stores: Sequence[int], origin: date) -> pd.DataFrame:
    """Return the newest model of each store among those that have seen no day after an origin."""
    return transaction.frame(
        """
        SELECT DISTINCT ON (store)
            store, trained_until, pooled_version, n_days, residual_scale, largest_day,
            median_day, coefficients
        FROM sales.models
        WHERE store = ANY($1::int4[]) AND period_start <= $2 AND trained_until <= $2
        ORDER BY store, period_start DESC
        """,
        (list(stores), origin),
    )


def modelled_cells(transaction: Transaction, first_days: dict[int, date]) -> dict[date, list[int]]:
    """Return the stores whose models have seen a changed day, by period.

    Args:
        transaction: The open transaction.
        first_days: Earliest changed day by store.
    """
    rows = transaction.rows(
        """
        SELECT m.period_start, array_agg(m.store ORDER BY m.store) AS stores
        FROM sales.models m
        JOIN unnest($1::int4[], $2::date[]) AS t (store, first_day) USING (store)
        WHERE m.trained_until >= t.first_day
        GROUP BY m.period_start ORDER BY m.period_start
        """,
        (list(first_days), list(first_days.values())),
    )
    return {row["period_start"]: row["stores"] for row in rows}


def _version(row: dict[str, Any]) -> PooledVersion:
    return PooledVersion(
        version=row["version"],
        trained_until=row["trained_until"],
        recipe=row["recipe"],
        mlflow_run_id=row["mlflow_run_id"],
        mlflow_version=row["mlflow_version"],
        metrics=json.loads(row["metrics"]),
        format=row["format"],
        model=bytes(row["model"]),
    )
