"""A store that fails in a refresh is named and tried again; the others' forecasts are issued."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import dagster as dg
import pandas as pd
import psycopg
import pytest

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.sensors import look_when_stale
from forecasting import cleaning, pipeline
from forecasting.features import daily as features
from tests.support.chain import STORES, Chain
from warehouse import changes, forecaster
from warehouse.changes import FIRST_STORE_WAIT

BROKEN = 3
EVERYBODY = set(range(1, STORES + 1))
NEXT_DAY = date(2015, 6, 13)


def breaking(function: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """The function, which cannot cope with one store's rows."""

    def broken(rows: pd.DataFrame, *arguments: object, **options: object) -> pd.DataFrame:
        if BROKEN in set(rows["store"]):
            raise ZeroDivisionError("a store without a past")
        return function(rows, *arguments, **options)

    return broken


def origins(chain: Chain) -> dict[int, date]:
    rows = chain.frame("SELECT store, origin FROM sales.current_forecasts WHERE horizon = 1")
    return {int(row.store): row.origin.date() for row in rows.itertuples()}


def open_stores(chain: Chain) -> dict[int, tuple[int, str | None, datetime]]:
    rows = chain.frame("SELECT * FROM sales.changes WHERE done_at IS NULL")
    return {row.stores[0]: (row.tries, row.error, row.not_before) for row in rows.itertuples()}


def check_of(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = (e for e in result.get_asset_check_evaluations() if e.check_name == name)
    return found


@pytest.mark.parametrize(
    ("asset", "module", "name"),
    [
        ("cleaned_sales", cleaning, "winning_events"),
        ("features", features, "day_features"),
        ("store_models", forecaster, "fit_stores"),
        ("forecasts", pipeline, "forecast"),
    ],
)
def test_a_store_that_fails_holds_nobody_up(
    forecast_chain: Chain,
    forecast_database: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    asset: str,
    module: object,
    name: str,
) -> None:
    chain = forecast_chain
    before = origins(chain)
    # A day that belongs to another week than the one fitted last, so that models are fitted too.
    day = NEXT_DAY + timedelta(days=6)
    chain.load_day(day)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, breaking(getattr(module, name)))
        result = chain.refresh()

    assert origins(chain) == dict.fromkeys(EVERYBODY, day) | {BROKEN: before[BROKEN]}
    reported = chain.materialized(result.run_id)
    assert reported["forecasts"].keys() == {f"2015-06-01|{s}" for s in EVERYBODY - {BROKEN}}
    assert f"2015-06-01|{BROKEN}" not in reported[asset]
    ((store, (tries, error, not_before)),) = open_stores(chain).items()
    assert (store, tries) == (BROKEN, 1)
    assert error == f"{asset}: ZeroDivisionError: a store without a past"
    look = chain.repository.get_job("freshness")
    fresh = check_of(look.execute_in_process(instance=chain.instance), "fresh")
    assert not fresh.passed
    assert fresh.description is not None
    assert f"1 partitions of 1 stores are stale: 2015-06-01|{BROKEN}" in fresh.description
    assert error in fresh.description

    with chain.warehouse.transaction() as transaction:
        assert changes.open_changes(transaction) is None, "it waits for its next try"
        now = transaction.value("SELECT clock_timestamp()")
    assert not_before - now <= FIRST_STORE_WAIT
    make_due(forecast_database)
    chain.refresh()
    assert origins(chain) == dict.fromkeys(EVERYBODY, day)
    assert open_stores(chain) == {}


def make_due(database: dict[str, str]) -> None:
    with psycopg.connect(database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("UPDATE sales.changes SET not_before = now() WHERE done_at IS NULL")


def test_waits_grow_and_another_change_of_the_store_tries_at_once(
    forecast_chain: Chain, forecast_database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    chain.load_day(NEXT_DAY)
    with monkeypatch.context() as patch:
        patch.setattr(features, "day_features", breaking(features.day_features))
        waits = []
        for _ in range(3):
            chain.refresh()
            ((tries, _, not_before),) = open_stores(chain).values()
            with chain.warehouse.transaction() as transaction:
                now = transaction.value("SELECT clock_timestamp()")
            waits.append(
                round((not_before - now).total_seconds() / FIRST_STORE_WAIT.total_seconds())
            )
            make_due(forecast_database)
        assert tries == 3
        assert waits == [1, 2, 4]
        chain.refresh()
    chain.load_day(NEXT_DAY + timedelta(days=1))
    chain.refresh()
    assert open_stores(chain) == {}, "the failed change went along with the new one"
    assert origins(chain) == dict.fromkeys(EVERYBODY, NEXT_DAY + timedelta(days=1))


def test_stores_that_fail_together_hold_nobody_up(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are all that changed, so nothing at all succeeds; the next day finds the others."""
    bad = {BROKEN, BROKEN + 1}

    def broken(rows: pd.DataFrame, *arguments: object, **options: object) -> pd.DataFrame:
        if bad & set(rows["store"]):
            raise ZeroDivisionError("no sense at all")
        return day_features(rows, *arguments, **options)

    chain, day_features = forecast_chain, features.day_features
    before = origins(chain)
    monkeypatch.setattr(features, "day_features", broken)
    chain.load_day(NEXT_DAY, stores=bad)
    chain.refresh()
    assert open_stores(chain).keys() == bad
    assert origins(chain) == before
    chain.load_day(NEXT_DAY + timedelta(days=1))
    chain.refresh()
    assert open_stores(chain).keys() == bad
    kept = {store: before[store] for store in bad}
    assert origins(chain) == dict.fromkeys(EVERYBODY, NEXT_DAY + timedelta(days=1)) | kept


def test_partitions_that_somebody_asked_for_fail_together(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "day_features", breaking(features.day_features))
    with pytest.raises(ZeroDivisionError):
        forecast_chain.run("refresh", "2015-05-01|1", f"2015-05-01|{STORES}")


def test_the_freshness_check_is_made_when_a_refresh_does_not_come_to_it(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain

    def look(cursor: str | None) -> tuple[Sequence[dg.RunRequest], str | None]:
        with dg.build_sensor_context(
            instance=chain.instance, cursor=cursor, resources={"warehouse": WarehouseResource()}
        ) as context:
            answer = look_when_stale(context)
        assert isinstance(answer, dg.SensorResult)
        return answer.run_requests or [], answer.cursor

    def check() -> dg.AssetCheckEvaluation:
        job = chain.repository.get_job("freshness")
        return check_of(job.execute_in_process(instance=chain.instance), "fresh")

    assert look(None)[0] == []
    chain.load_day(NEXT_DAY)
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("UPDATE sales.changes SET made_at = now() - interval '1 hour'")
    asked, cursor = look(None)
    assert len(asked) == 1
    assert look(cursor)[0] == [], "once"
    stale = check()
    assert not stale.passed
    assert stale.description is not None
    assert ", ".join(f"2015-06-01|{store}" for store in EVERYBODY) in stale.description
    chain.refresh()
    asked, cursor = look(cursor)
    assert len(asked) == 1, "and once more when they are fresh again"
    assert check().passed
    assert look(cursor)[0] == []
