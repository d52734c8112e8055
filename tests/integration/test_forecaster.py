"""The warehouse forecaster gives what the asset issued, and what a changed plan would give."""

from datetime import date

import pandas as pd
import pytest

from tests.support.chain import STORES, Chain
from warehouse import forecaster, loading, models, scenarios
from warehouse.errors import ModelError

ORIGIN = date(2015, 6, 12)
EVERYBODY = list(range(1, STORES + 1))


def issued(chain: Chain) -> pd.DataFrame:
    return chain.frame("SELECT * FROM sales.current_forecasts ORDER BY store, date")


def test_it_forecasts_what_the_asset_issued(forecast_chain: Chain) -> None:
    chain = forecast_chain
    expected = issued(chain)
    with chain.warehouse.transaction() as transaction:
        rows = forecaster.forecast(transaction, EVERYBODY, ORIGIN)
    assert len(rows) == STORES * 42
    columns = [name for name in rows if name in expected]
    assert {"point", "mean", "q0_5", "open", "plan_assumed", "model_version"} <= set(columns)
    pd.testing.assert_frame_equal(
        rows.sort_values(["store", "date"], ignore_index=True)[columns],
        expected[columns],
        check_dtype=False,
        rtol=1e-12,
    )


def test_a_changed_plan_changes_its_store_and_writes_nothing(forecast_chain: Chain) -> None:
    chain = forecast_chain
    before = issued(chain)
    target = before[(before["store"] == 2) & (before["open"] == 1)].iloc[3]
    plan = pd.DataFrame(
        {
            "store": [2],
            "date": [target["date"]],
            "day_of_week": [target["date"].dayofweek + 1],
            "sales": [float("nan")],
            "customers": [float("nan")],
            "open": [0],
            "promo": [0],
            "state_holiday": ["0"],
            "school_holiday": [0],
        }
    )
    with chain.warehouse.transaction() as transaction:
        rows = forecaster.forecast(transaction, EVERYBODY, ORIGIN, plan)
    rows = rows.sort_values(["store", "date"], ignore_index=True)
    closed = rows[(rows["store"] == 2) & (rows["date"] == target["date"])].iloc[0]
    assert (closed["open"], closed["point"]) == (0, 0.0)
    others = rows["store"] != 2
    pd.testing.assert_series_equal(rows["point"][others], before["point"][others])
    pd.testing.assert_frame_equal(issued(chain), before)


@pytest.mark.parametrize("days_ahead", [4, 30], ids=["within the look-ahead", "beyond it"])
@pytest.mark.parametrize("days_later", [0, 1], ids=["the model has seen all", "but for a day"])
def test_a_what_if_is_what_a_refresh_under_the_plan_gives(
    forecast_chain: Chain, days_ahead: int, days_later: int
) -> None:
    chain = forecast_chain
    if days_later:
        # Store 3 is not due for a refit on this day.
        chain.load_day(date(2015, 6, 13))
        chain.refresh()
    before = issued(chain)
    mine = before[(before["store"] == 3) & (before["open"] == 1)]
    day = mine[mine["horizon"] >= days_ahead].iloc[0]["date"]
    with chain.warehouse.transaction() as transaction:
        plan = scenarios.changed_plan(
            transaction,
            [scenarios.PlanChange(3, day.date(), day.date(), {"promo": 0, "open": 0})],
            42,
        )
        expected = scenarios.forecasts(transaction, plan, 42, "rmspe")
    stored = chain.frame(f"SELECT * FROM sales.planned_days WHERE store = 3 AND date = '{day:%F}'")
    with chain.warehouse.transaction() as transaction:
        changed = stored.assign(open=0, promo=0, event_time=pd.Timestamp.now("UTC"))
        assert loading.merge_plans(transaction, changed).changed
    chain.refresh()
    after = issued(chain)
    after = after[after["store"] == 3].reset_index(drop=True)
    assert (after["refresh_id"] != mine["refresh_id"].iloc[0]).all()
    columns = ["store", "date", "open", "point", "mean", "q0_1", "q0_9"]
    pd.testing.assert_frame_equal(after[columns], expected[columns], check_dtype=False, rtol=1e-9)


def test_a_model_that_has_seen_later_days_is_refused(forecast_chain: Chain) -> None:
    chain = forecast_chain
    with chain.warehouse.transaction() as transaction:
        stored = models.store_models(transaction, [1], date(2015, 6, 1))
        seen = stored["trained_until"].iloc[0].date()
        earlier = date(2015, 5, 31)
        assert earlier < seen
        with pytest.raises(ModelError, match=f"store 1 has seen {seen}, which is later than the"):
            forecaster.Forecaster.read(transaction, stored, earlier)
        assert forecaster.forecast(transaction, [1], date(2014, 2, 1)).empty
