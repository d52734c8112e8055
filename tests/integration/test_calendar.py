"""What does not fit the partitions stops nothing: other keys, other days, days still to come."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg
import pandas as pd
import pytest

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.sensors import refresh_when_changed
from forecast_assets.settings import settings
from rossmann import kaggle
from tests.support.chain import CALENDAR, STORES, Chain
from warehouse import calendar, loading, sales
from warehouse.errors import CalendarError

COMPUTATION = calendar.Computation(unusual_factor=8, horizon=42, error_measure="rmspe")
OPEN = "SELECT kind, stores, first_days FROM sales.changes WHERE done_at IS NULL"
ORIGINS = "SELECT store, origin FROM sales.current_forecasts WHERE horizon = 1"


def tick_and_refresh(chain: Chain) -> dg.ExecuteInProcessResult:
    """Evaluate the sensor and execute the run that it requests."""
    resources = {"warehouse": WarehouseResource()}
    with dg.build_sensor_context(instance=chain.instance, resources=resources) as context:
        answer = refresh_when_changed(context)
    assert isinstance(answer, dg.SensorResult), answer
    (request,) = answer.run_requests or []
    result = chain.repository.get_job("refresh").execute_in_process(
        instance=chain.instance, tags=dict(request.tags)
    )
    assert result.success
    return result


def load_on(chain: Chain, day: date, *, store: int | None = None) -> None:
    """Load a copy of the newest day's sales under another date."""
    train = kaggle.read_train(chain.folder)
    rows = train[train["date"] == train["date"].max()].assign(date=pd.Timestamp(day))
    rows["day_of_week"] = day.isoweekday()
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=rows if store is None else rows[rows["store"] == store],
        plans=train.iloc[:0],
        as_of=datetime(2015, 8, 1, tzinfo=UTC),
        calendar=(date(2013, 1, 1), CALENDAR[1]),
    )


def test_a_key_that_somebody_added_by_hand_is_ignored(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.instance.add_dynamic_partitions("store", ["store_12", "007"])
    chain.load_day(date(2015, 6, 13))
    tick_and_refresh(chain)
    assert set(chain.frame(ORIGINS)["origin"].dt.date) == {date(2015, 6, 13)}
    assert chain.run("refresh", "2015-06-01|1", "2015-06-01|007").success


def test_no_origin_and_no_training_lies_in_the_future(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped date does not move a store's origin for good."""
    chain = forecast_chain
    monkeypatch.setattr(sales, "today", lambda: date(2015, 6, 13))
    load_on(chain, date(2015, 7, 20), store=2)
    chain.load_day(date(2015, 6, 13))
    chain.refresh()
    assert dict.fromkeys(range(1, STORES + 1), date(2015, 6, 13)) == {
        row.store: row.origin.date() for row in chain.frame(ORIGINS).itertuples()
    }
    chain.train("2015-07-01")
    trained = chain.frame("SELECT max(trained_until) AS day FROM sales.pooled_models")
    assert trained["day"].dt.date.tolist() == [date(2015, 6, 13)]


def test_sales_before_the_calendar_stop_nothing_and_are_computed_once_it_covers_them(
    forecast_chain: Chain,
) -> None:
    chain = forecast_chain
    load_on(chain, date(2013, 11, 5), store=3)
    chain.load_day(date(2015, 6, 13))
    tick_and_refresh(chain)
    assert set(chain.frame(ORIGINS)["origin"].dt.date) == {date(2015, 6, 13)}
    assert chain.frame(OPEN).empty

    with chain.warehouse.transaction() as transaction:
        calendar.agree(transaction, "monthly", CALENDAR[0], CALENDAR[1], COMPUTATION)
    assert chain.frame(OPEN).empty, "the same calendar as before"
    with chain.warehouse.transaction() as transaction:
        calendar.agree(transaction, "monthly", date(2013, 1, 1), None, COMPUTATION)
    (row,) = chain.frame(OPEN).itertuples()
    assert (row.kind, list(row.stores)) == ("calendar", [3])
    assert [str(day)[:10] for day in row.first_days] == ["2013-11-05"]


@pytest.mark.parametrize(
    ("name", "value", "since"),
    [
        ("FORECAST_HORIZON", "21", "newest"),
        ("FORECAST_ERROR_MEASURE", "mean", "newest"),
        ("FORECAST_UNUSUAL_FACTOR", "none", "oldest"),
    ],
)
def test_another_setting_reaches_what_was_computed_before(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch, name: str, value: str, since: str
) -> None:
    chain = forecast_chain
    chain.load_day(date(2015, 6, 13))
    tick_and_refresh(chain)
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        tick_and_refresh(chain)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    last = chain.frame("SELECT * FROM sales.refreshes ORDER BY finished_at DESC LIMIT 1")
    assert last["stores"].item() == STORES
    days = chain.frame("SELECT min(date) AS oldest, max(date) AS newest FROM sales.cleaned_sales")
    assert last["first_day"].item() == days[since].item()
    forecasts = chain.frame("SELECT * FROM sales.current_forecasts WHERE open = 1")
    assert set(forecasts["refresh_id"]) == set(last["refresh_id"])
    assert forecasts["horizon"].max() == (21 if name == "FORECAST_HORIZON" else 42)
    assert (forecasts["point"] == forecasts["mean"]).all() == (name == "FORECAST_ERROR_MEASURE")
    assert chain.frame(OPEN).empty


def test_a_plan_for_a_store_that_has_not_opened_leaves_no_change_open(
    forecast_chain: Chain,
) -> None:
    chain, new = forecast_chain, STORES + 1
    train, known = kaggle.read_train(chain.folder), kaggle.read_stores(chain.folder)
    days = pd.date_range("2015-07-06", periods=14)
    plan = train[train["store"] == 1].head(len(days)).assign(store=new, date=days)
    loading.load(
        chain.warehouse,
        stores=pd.concat([known, known.head(1).assign(store=new)]),
        sales=train.iloc[:0],
        plans=plan,
        calendar=CALENDAR,
    )
    assert not chain.frame(OPEN).empty
    tick_and_refresh(chain)
    assert chain.frame(OPEN).empty
    assert len(chain.frame(f"SELECT date FROM sales.planned_days WHERE store = {new}")) == len(days)


def test_another_grain_is_refused_before_anything_runs(forecast_chain: Chain) -> None:
    with (
        pytest.raises(CalendarError, match=r"is weekly, but .* have monthly periods.*Set it back"),
        forecast_chain.warehouse.transaction() as transaction,
    ):
        calendar.agree(transaction, "weekly", CALENDAR[0], CALENDAR[1], COMPUTATION)


def test_the_grain_may_change_while_there_are_no_models(chain: Chain) -> None:
    for grain in ("monthly", "daily", "weekly"):
        with chain.warehouse.transaction() as transaction:
            calendar.agree(transaction, grain, CALENDAR[0], CALENDAR[1], COMPUTATION)
    assert chain.frame("SELECT grain FROM sales.calendar")["grain"].tolist() == ["weekly"]
