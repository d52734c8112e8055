"""A refresh on real PostgreSQL: from files to issued forecasts, corrections, plans, new stores."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import adbc_driver_manager as adbc
import dagster as dg
import numpy as np
import pandas as pd
import psycopg
import pytest

from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.sensors import (
    refresh_when_changed,
)
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.models.refit import fit_day
from rossmann import kaggle
from tests.support.chain import CALENDAR, ISSUED, STORES, Chain
from warehouse import changes, checks, loading


def metadata_of_newest(chain: Chain, asset: str) -> Mapping[str, dg.MetadataValue]:
    """What an asset's page in the UI shows."""
    newest = chain.instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert newest is not None and newest.asset_materialization is not None
    return newest.asset_materialization.metadata


def test_from_files_to_issued_forecasts(chain: Chain) -> None:
    first = chain.load(date(2015, 6, 12))
    assert not first.already_loaded
    assert chain.load(date(2015, 6, 12)).already_loaded, "the same rows load once"

    chain.refresh()
    assert chain.frame(ISSUED).empty, "before the first training there is nothing to issue"
    assert chain.frame("SELECT * FROM sales.changes WHERE done_at IS NULL").empty
    assert len(chain.frame("SELECT * FROM sales.cleaned_sales")) == first.sales_rows

    chain.train("2015-06-01")
    open_changes = chain.frame("SELECT kind FROM sales.changes WHERE done_at IS NULL")
    assert open_changes["kind"].tolist() == ["champion"]
    chain.refresh()

    shown = metadata_of_newest(chain, "forecasts")
    assert "data:image/svg+xml" in str(shown["example"].value)
    assert f"Store%20{STORES}" in str(shown["picture"].value)
    # The UI shows shorter Markdown inline, and a button for longer.
    assert len(str(shown["picture"].value)) < 1_000
    assert "dagster/column_lineage" in shown
    shown = metadata_of_newest(chain, "pooled_model")
    for picture in ("importance", "accuracy_by_origin"):
        assert "data:image/svg+xml" in str(shown[picture].value), picture
    # The UI draws whole numbers as time series.
    shown = metadata_of_newest(chain, "cleaned_sales")
    assert isinstance(shown["dagster/row_count"], dg.IntMetadataValue)
    assert isinstance(shown["corrections"], dg.IntMetadataValue)

    issued = chain.frame(ISSUED)
    assert issued.groupby("store").size().to_dict() == dict.fromkeys(range(1, STORES + 1), 42)
    assert set(issued["origin"].dt.date) == {date(2015, 6, 12)}
    assert issued["model_version"].str.startswith("2015-06-12-").all()
    values = issued[list(QUANTILE_COLUMNS)].to_numpy()
    assert (values[:, 1:] >= values[:, :-1]).all()
    assert (values >= 0).all()
    assert (issued.loc[issued["open"] == 0, ["point", "mean", *QUANTILE_COLUMNS]] == 0).all(None)
    assert issued.loc[issued["open"] == 1, "point"].gt(0).all()


def test_a_refresh_writes_totals_with_intervals(chain: Chain) -> None:
    chain.load(date(2015, 6, 12))
    chain.refresh()
    chain.train("2015-06-01")
    result = chain.refresh()
    totals = chain.frame("SELECT * FROM sales.current_totals ORDER BY level, member, last_day")
    assert set(totals["refresh_id"]) == {result.run_id}
    forecasts = chain.frame("SELECT * FROM sales.current_forecasts")
    chain_days = totals[(totals["level"] == "chain") & (totals["grain"] == "day")]
    assert len(chain_days) == 42 and (chain_days["days"] == STORES).all()
    np.testing.assert_allclose(chain_days["mean"], forecasts.groupby("date")["mean"].sum())
    weeks = totals[(totals["level"] == "store") & (totals["grain"] == "week")]
    assert set(weeks["member"]) == {str(store) for store in range(1, STORES + 1)}
    assert (weeks["days"] == (weeks["last_day"] - weeks["first_day"]).dt.days + 1).all()
    for level in ("store_type", "assortment"):
        groups = totals[(totals["level"] == level) & (totals["grain"] == "week")]
        by_week = groups.groupby("last_day")["mean"].sum()
        whole = totals[(totals["level"] == "chain") & (totals["grain"] == "week")]
        np.testing.assert_allclose(by_week, whole["mean"])
    values = totals[list(QUANTILE_COLUMNS)].to_numpy()
    assert (values[:, 1:] >= values[:, :-1]).all() and (values >= 0).all()

    # As their days become known, the totals are compared with what was sold.
    chain.load(date(2015, 6, 19))
    check = next(
        check
        for check in chain.refresh().get_asset_check_evaluations()
        if check.check_name == "totals_coverage"
    )
    table = str(check.metadata["by_kind"].value)
    # On Sunday, 14 June, every store is closed; Saturday and Sunday are the first week's rest.
    assert "| days of chain | 6 | 6 |" in table and f"| weeks of store | {STORES} | 1 |" in table
    assert check.passed and check.description == "too few totals are known yet"


def written(chain: Chain, table: str, key: str) -> dict[tuple, object]:
    rows = chain.frame(f"SELECT store, {key} AS day, written_at FROM sales.{table}")
    return {(row.store, row.day.date()): row.written_at for row in rows.itertuples()}


def test_a_new_month_begins_with_the_models_of_the_last(chain: Chain) -> None:
    chain.load(date(2015, 5, 31))
    chain.refresh()
    chain.train("2015-05-01")
    chain.refresh()
    day = date(2015, 6, 1)
    chain.load_day(day)
    result = chain.refresh()

    query = """
        SELECT store, trained_until, n_days, residual_scale, coefficients::text AS coefficients
        FROM sales.models WHERE period_start = '{}' ORDER BY store
    """
    began, before = chain.frame(query.format(day)), chain.frame(query.format(date(2015, 5, 1)))
    until = {store: fit_day(store, day, date(2015, 5, 31)) for store in range(1, STORES + 1)}
    assert dict(zip(began["store"], began["trained_until"].dt.date, strict=True)) == until
    carried = began["trained_until"] < pd.Timestamp(day)
    assert 0 < carried.sum() < STORES
    pd.testing.assert_frame_equal(began[carried], before[carried])
    reported = chain.materialized(result.run_id)["store_models"]
    assert reported.keys() == {f"2015-06-01|{store}" for store in until}

    chain.run("refresh", f"{day}|1", f"{day}|{STORES}")
    pd.testing.assert_frame_equal(chain.frame(query.format(day)), began)


def test_a_correction_touches_its_own_store_from_its_month_on(forecast_chain: Chain) -> None:
    chain = forecast_chain
    before = {
        table: written(chain, table, key)
        for table, key in (("cleaned_sales", "date"), ("features", "date"))
    }
    issued_before = chain.frame(ISSUED)
    old = chain.frame(
        "SELECT sales FROM sales.cleaned_sales WHERE store = 2 AND date = '2015-04-14'"
    )

    chain.load(date(2015, 6, 12), as_of=datetime(2016, 1, 1, tzinfo=UTC), s2_2015_04_14=3)
    result = chain.run("refresh", "2015-04-01|2", "2015-06-01|2", refresh=True)

    new = chain.frame(
        "SELECT sales, corrections FROM sales.cleaned_sales WHERE store = 2 AND date = '2015-04-14'"
    )
    assert new["sales"].tolist() == [old["sales"].iloc[0] * 3]
    assert new["corrections"].tolist() == [1]
    for table, key in (("cleaned_sales", "date"), ("features", "date")):
        after = written(chain, table, key)
        assert after.keys() == before[table].keys()
        changed = {cell for cell, at in after.items() if at != before[table][cell]}
        assert {store for store, _ in changed} == {2}
        assert min(day for _, day in changed) >= date(2015, 4, 1)
        assert max(day for _, day in changed) == date(2015, 6, 12)
    issued = chain.frame(ISSUED)
    kept = issued[issued["refresh_id"].isin(issued_before["refresh_id"])]
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), issued_before)
    added = issued[~issued["refresh_id"].isin(issued_before["refresh_id"])]
    assert set(added["store"]) == {2}
    materialized = chain.materialized(result.run_id)
    assert materialized["cleaned_sales"].keys() == {
        "2015-04-01|2", "2015-05-01|2", "2015-06-01|2",
    }  # fmt: skip
    assert materialized["forecasts"].keys() == {"2015-06-01|2"}


def test_a_plan_for_a_coming_month_reaches_its_store_in_one_refresh(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    day = "SELECT open, promo FROM sales.planned_days WHERE store = 3 AND date = '2015-07-14'"
    forecast = (
        "SELECT open, point FROM sales.forecasts_issued "
        "WHERE store = 3 AND date = '2015-07-14' ORDER BY written_at DESC LIMIT 1"
    )
    assert chain.frame(forecast)["point"].item() > 0
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("SELECT sales.ensure_months('2015-07-14', '2015-07-14')")
        owner.execute(
            """
            INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time,
                store, date, day_of_week, open, promo, state_holiday, school_holiday)
            VALUES (1, 7, 0, now(), 3, '2015-07-14', 2, 0, 0, '0', 0)
            """
        )
        owner.execute(
            "INSERT INTO sales.stream_offsets "
            "(stream_id, topic_partition, first_offset, next_offset, stored) "
            "VALUES (1, 7, 0, 1, 1)"
        )
        owner.execute(
            "INSERT INTO sales.changes (kind, stores, first_days) "
            "VALUES ('stream', '{3}', '{2015-07-14}')"
        )
    chain.run("refresh", "2015-06-01|3", "2015-06-01|3", refresh=True)
    assert chain.frame(day).to_dict("list") == {"open": [0], "promo": [0]}
    assert chain.frame(forecast).to_dict("list") == {"open": [0], "point": [0.0]}
    with chain.warehouse.transaction() as transaction:
        assert changes.open_changes(transaction) is None, "a refresh asks for no second one"


def test_a_new_stores_first_day_is_its_partition_and_forecasts_in_one_refresh(
    forecast_chain: Chain,
) -> None:
    chain, new = forecast_chain, STORES + 1
    stores = kaggle.read_stores(chain.folder)
    train = kaggle.read_train(chain.folder)
    day = train[(train["store"] == 1) & (train["date"] == pd.Timestamp(2015, 6, 13))]
    assert (day["sales"] > 0).all() and len(day) == 1
    loading.load(
        chain.warehouse,
        stores=pd.concat([stores, stores[stores["store"] == 1].assign(store=new)]),
        sales=day.assign(store=new),
        plans=train.iloc[:0],
        calendar=CALENDAR,
    )
    with dg.build_sensor_context(
        instance=chain.instance, resources={"warehouse": WarehouseResource()}
    ) as context:
        answer = refresh_when_changed(context)
    assert isinstance(answer, dg.SensorResult)
    assert str(new) in chain.instance.get_dynamic_partitions("store")
    (request,) = answer.run_requests or []
    result = chain.repository.get_job("refresh").execute_in_process(
        instance=chain.instance, tags=dict(request.tags)
    )
    assert result.success
    issued = chain.frame(f"SELECT * FROM sales.forecasts_issued WHERE store = {new}")
    assert len(issued) == 42
    assert set(issued["refresh_id"]) == {result.run_id}
    assert issued.loc[issued["open"] == 1, "point"].gt(0).all()
    assert chain.materialized(result.run_id)["forecasts"] == {f"2015-06-01|{new}": 42}


def test_days_that_a_refresh_cleaned_beside_their_withdrawal_go_with_the_next(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        for table in ("cleaned_sales", "features"):
            copied = f"SELECT t.* FROM sales.{table} t WHERE store = 2 AND date = '2015-06-12'"
            owner.execute(f"CREATE TEMP TABLE copied_{table} AS {copied}".encode())
            owner.execute(f"UPDATE copied_{table} SET date = '2015-07-05'".encode())
            owner.execute(f"INSERT INTO sales.{table} SELECT * FROM copied_{table}".encode())
        owner.execute(
            "INSERT INTO sales.changes (kind, stores, first_days) "
            "VALUES ('withdrawal', '{2}', '{2015-06-12}')"
        )
    forecast_chain.refresh()
    for table in ("cleaned_sales", "features"):
        newest = forecast_chain.frame(f"SELECT max(date)::text AS day FROM sales.{table}")
        assert newest["day"].tolist() == ["2015-06-12"], table
    assert forecast_chain.frame("SELECT * FROM sales.changes WHERE done_at IS NULL").empty


def test_an_empty_partition_is_materialized_as_empty(forecast_chain: Chain) -> None:
    result = forecast_chain.run("refresh", "2015-08-01|3")
    materialized = forecast_chain.materialized(result.run_id)
    for asset in ("raw_sales", "cleaned_sales", "features"):
        assert materialized[asset] == {"2015-08-01|3": 0}


def test_a_failed_refresh_leaves_its_changes_open(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    chain.load(date(2015, 6, 12), as_of=datetime(2016, 1, 1, tzinfo=UTC), s4_2015_06_10=2)
    from warehouse import forecasts

    def full(*args: object, **kwargs: object) -> int:
        raise adbc.OperationalError("no disk", status_code=adbc.AdbcStatusCode.IO)

    with monkeypatch.context() as patch:
        patch.setattr(forecasts, "issue", full)
        with pytest.raises(Exception, match="no disk"):
            chain.refresh()
    with chain.warehouse.transaction() as transaction:
        waiting = changes.open_changes(transaction)
    assert waiting is not None
    assert waiting.first_days == {4: date(2015, 6, 10)}
    chain.refresh()
    with chain.warehouse.transaction() as transaction:
        assert changes.open_changes(transaction) is None
        assert checks.unbalanced(transaction) == []
