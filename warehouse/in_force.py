"""What planners ask for: the forecasts in force, or those that were in force at an earlier origin.

Where a forecast came from is in `trace.py`; how good forecasts were is in `accuracy.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from forecasting.columns import QUANTILE_COLUMNS
from warehouse.connection import Transaction
from warehouse.errors import NotFoundError, NotYetError

#: Why a database has no forecast at all.
NOTHING_YET = (
    "no forecast yet. The first ones come a few minutes after the first load, once a model is "
    "trained; wait for them with `--wait 10`, and see `make status` for what is going on"
)

#: How many stores a message lists before truncating.
LISTED_STORES = 5

_COLUMNS = ", ".join(
    f"f.{name}"
    for name in (
        *("store", "origin", "date", "horizon", "kind", "open", "plan_assumed", "limited"),
        *("point", "mean", *QUANTILE_COLUMNS, "model_version"),
    )
)


def known_stores(transaction: Transaction, stores: Sequence[int]) -> list[int]:
    """Return the stores, or all stores of the chain if none is named.

    Raises:
        NotFoundError: The chain has no such store, or no store at all.
    """
    known = [
        row["store"] for row in transaction.rows("SELECT store FROM sales.stores ORDER BY store")
    ]
    if not known:
        raise NotFoundError(
            "the sales database has no stores yet: load them with `python -m forecast_assets "
            "load`, or start a stack with `make up`"
        )
    unknown = sorted(set(stores) - set(known))
    if unknown:
        raise NotFoundError(
            f"{_listed(unknown)}: no such store. The chain has {len(known):,} stores, from "
            f"{known[0]} to {known[-1]}"
        )
    return sorted(set(stores)) if stores else known


def forecasts(
    transaction: Transaction, stores: Sequence[int], days: int, as_of: date | None = None
) -> list[dict[str, Any]]:
    """Return the forecasts of stores for the first days after their origin.

    Args:
        transaction: A snapshot: a refresh may commit while this reads.
        stores: Stores of the chain.
        days: How many days of each store.
        as_of: An origin: return the issued forecast that was the newest then, or the backtest
            from exactly that day. By default the forecasts in force now.

    Returns:
        Rows with store, origin, date, horizon, kind, open, plan_assumed, limited, point, mean,
        the quantiles and model_version, by store and date.

    Raises:
        NotYetError: A store has no forecast yet.
        NotFoundError: There is none from that origin, or it does not reach that far.
    """
    rows = transaction.rows(
        f"""
        WITH newest AS (
            SELECT DISTINCT ON (store) store, kind, origin, refresh_id
            FROM sales.forecasts
            WHERE horizon = 1 AND store = ANY($1::int4[]) AND (
                kind = 'issued' AND origin <= $2::date
                OR kind = 'issued' AND $2::date IS NULL
                    AND NOT sales.is_void(store, origin, written_at)
                OR kind = 'backtest' AND origin = $2::date)
            ORDER BY store, kind = 'issued' DESC, origin DESC, written_at DESC
        )
        SELECT {_COLUMNS}
        FROM newest JOIN sales.forecasts f USING (store, kind, origin, refresh_id)
        ORDER BY f.store, f.date
        """,
        (list(stores), as_of),
    )
    missing = sorted(set(stores) - {row["store"] for row in rows})
    if missing:
        raise _missing_error(transaction, missing, as_of)
    reach = {row["store"]: row for row in rows}
    short = [row for row in reach.values() if row["horizon"] < days]
    if short:
        first = short[0]
        raise NotFoundError(
            f"the forecast of store {first['store']} from {first['origin']} reaches "
            f"{first['horizon']} days ahead, to {first['date']}: ask for at most "
            f"{first['horizon']} days"
        )
    return [row for row in rows if row["horizon"] <= days]


def _missing_error(
    transaction: Transaction, stores: Sequence[int], as_of: date | None
) -> NotFoundError:
    """Return the error that says why stores have no forecast."""
    (known,) = transaction.rows(
        """
        SELECT min(origin) AS first_origin, max(origin) AS last_origin
        FROM sales.forecasts_issued WHERE horizon = 1 AND store = ANY($1::int4[])
        """,
        (list(stores),),
    )
    if known["first_origin"] is not None and as_of is None:
        return NotYetError(
            f"{_listed(stores)}: no forecast is in force at the moment, since sales that it had "
            "seen were withdrawn. The next refresh issues one; see `make status` for what is going "
            "on"
        )
    if known["first_origin"] is not None:
        return NotFoundError(
            f"{_listed(stores)}: no forecast from {as_of}. Forecasts were issued from "
            f"{known['first_origin']} to {known['last_origin']}; for an earlier month, materialize "
            "its backtest"
        )
    if transaction.value("SELECT NOT EXISTS (SELECT FROM sales.forecasts_issued)"):
        return NotYetError(f"{_listed(stores)}: {NOTHING_YET}")
    return NotYetError(
        f"{_listed(stores)}: no forecast yet, although other stores have one. It has no sales yet, "
        "or its refresh failed: the check `fresh` of the asset `forecasts` in Dagster says which"
    )


def _listed(stores: Sequence[int]) -> str:
    names = ", ".join(map(str, stores[:LISTED_STORES]))
    more = f" and {len(stores) - LISTED_STORES:,} more" if len(stores) > LISTED_STORES else ""
    return f"store{'s' if len(stores) > 1 else ''} {names}{more}"
