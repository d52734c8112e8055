"""The asset graph on real PostgreSQL: load, refresh, train, correct, backtest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import adbc_driver_manager as adbc
import dagster as dg
import pandas as pd
import psycopg
import pytest

from forecast_assets.commands import trace
from forecast_assets.defs.resources import WarehouseResource
from forecast_assets.defs.sensors import (
    refresh_when_changed,
    train_challenger,
    train_when_slipped,
    train_when_untrained,
)
from forecast_assets.instance.run_launcher import NICENESS_TAG
from forecast_assets.settings import settings
from forecast_assets.steps.training import COMPARED_ORIGINS
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.evaluation.accuracy import SUMS
from forecasting.models import model_format, pooled, training
from forecasting.models.refit import fit_day
from forecasting.schemas.columns import TABLES
from rossmann import kaggle
from tests.support.chain import CALENDAR, END, STORES, Chain
from warehouse import accuracy, changes, checks, loading, models, sales
from warehouse.connection import Warehouse
from warehouse.errors import LoadError
from warehouse.trace import refresh as refresh_of

ISSUED = "SELECT * FROM sales.forecasts_issued ORDER BY refresh_id, store, date"


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


def test_a_past_partition_is_a_backtest_that_sees_no_future(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.train("2015-03-01")
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    backtest = "SELECT * FROM sales.forecasts_backtest ORDER BY store, date"
    first = chain.frame(backtest)
    assert set(first["origin"].dt.date) == {date(2015, 4, 30)}
    assert set(first["model_version"].str[:10]) == {"2015-03-31"}, "not the champion of June"
    assert len(first) == 42 * STORES

    # All that came later is turned upside down; the plan (openings, promos) stays.
    train = kaggle.read_train(chain.folder)
    later = train[train["date"] > pd.Timestamp(2015, 4, 30)].copy()
    later["sales"] = later["sales"] * 7
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=later,
        plans=train.iloc[:0],
        as_of=datetime(2016, 1, 1, tzinfo=UTC),
        calendar=CALENDAR,
    )
    chain.run("refresh", "2015-05-01|1", f"2015-06-01|{STORES}", refresh=True)
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    second = chain.frame(backtest)
    same = [name for name in first if name not in ("refresh_id", "written_at")]
    pd.testing.assert_frame_equal(first[same], second[same])
    assert set(second["refresh_id"]) != set(first["refresh_id"]), "it was computed again"


SCORES = """
SELECT * FROM sales.forecast_accuracy
ORDER BY kind, store, date, lead_week, origin NULLS FIRST, model_version
"""


def scored_by_hand(chain: Chain) -> pd.DataFrame:
    """The scores, computed another way: from the tables as frames."""
    forecast = chain.frame("SELECT * FROM sales.forecasts ORDER BY written_at")
    forecast = forecast.drop_duplicates(["kind", "store", "origin", "date"], keep="last")
    sales = chain.frame("SELECT store, date, sales FROM sales.cleaned_sales")
    both = forecast.merge(sales, on=["store", "date"])
    sold = both["sales"] > 0
    both["lead_week"] = (both["horizon"] + 6) // 7
    both["origin"] = both["origin"].where(both["kind"] == "backtest")
    both["forecasts"], both["sold"] = 1, sold.astype(int)
    both["absolute_error"] = (both["sales"] - both["q0_5"]).abs()
    relative = (both["sales"] - both["point"]) / both["sales"].where(sold)
    both["squared_percent_error"] = relative.pow(2).fillna(0)
    both["inside_80"] = both["sales"].between(both["q0_1"], both["q0_9"]) & sold
    both["inside_95"] = both["sales"].between(both["q0_025"], both["q0_975"]) & sold
    keys = ["kind", "store", "date", "lead_week", "origin", "model_version"]
    grouped = both.groupby(keys, dropna=False)[list(SUMS)].sum().astype(float)
    return grouped.reset_index().sort_values(keys, na_position="first", ignore_index=True)


def assert_scored(chain: Chain) -> pd.DataFrame:
    found = chain.frame(SCORES)
    expected = scored_by_hand(chain)
    pd.testing.assert_frame_equal(
        found[list(expected)].astype(dict.fromkeys(SUMS, float)), expected, check_dtype=False
    )
    return found


def test_days_that_arrive_are_held_against_their_forecasts(forecast_chain: Chain) -> None:
    chain = forecast_chain
    assert chain.frame(SCORES).empty, "no forecast has met its day yet"
    chain.load(date(2015, 6, 13))
    chain.refresh()
    chain.load(date(2015, 6, 15))
    result = chain.refresh()

    scores = assert_scored(chain)
    assert set(scores["kind"]) == {"issued"}
    assert scores["forecasts"].sum() == STORES * (3 + 2), "two origins, three and two days known"
    reported = chain.materialized(result.run_id)["forecast_accuracy"]
    assert reported == {f"2015-06-01|{store}": 3 for store in range(1, STORES + 1)}
    assert chain.frame("SELECT * FROM sales.refreshes WHERE scored_at IS NULL").empty
    check = next(
        e for e in result.get_asset_check_evaluations() if e.check_name == "coverage_and_bias"
    )
    assert check.passed
    assert "too few days to judge" in check.description


def test_a_correction_is_scored_again_and_nothing_else(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.load(date(2015, 6, 16))
    chain.refresh()
    before = chain.frame(SCORES)
    chain.load(date(2015, 6, 16), as_of=datetime(2016, 1, 1, tzinfo=UTC), s2_2015_06_15=2)
    chain.run("refresh", "2015-06-01|2", "2015-06-01|2", refresh=True)

    after = assert_scored(chain)
    changed = (after["written_at"] != before["written_at"]).to_numpy()
    assert set(after.loc[changed, "store"]) == {2}
    assert after.loc[changed, "date"].min() == pd.Timestamp(2015, 6, 15)
    row = (after["store"] == 2) & (after["date"] == pd.Timestamp(2015, 6, 15))
    assert (after.loc[row, "sales"] == 2 * before.loc[row, "sales"]).all()

    # Store 2 was forecast twice from the 16th: what planners saw last is what counts.
    issues = chain.frame(
        "SELECT DISTINCT refresh_id FROM sales.forecasts_issued "
        "WHERE store = 2 AND origin = '2015-06-16'"
    )
    assert len(issues) == 2
    chain.load(date(2015, 6, 17))
    chain.refresh()
    newest = assert_scored(chain)
    of_the_17th = newest[newest["date"] == pd.Timestamp(2015, 6, 17)]
    assert of_the_17th.groupby("store")["forecasts"].sum().to_dict() == dict.fromkeys(
        range(1, STORES + 1), 2
    )


def test_a_backfill_scores_its_backtest_as_far_as_days_are_known(forecast_chain: Chain) -> None:
    chain = forecast_chain
    chain.train("2015-03-01")
    result = chain.run("refresh", "2015-04-01|1", f"2015-05-01|{STORES}")
    first = assert_scored(chain)
    assert set(first["kind"]) == {"backtest"}
    # From 30 April all 42 days are known, from 31 May those up to 12 June.
    assert first["forecasts"].sum() == STORES * (42 + 12)
    reported = chain.materialized(result.run_id)["forecast_accuracy"]
    assert reported["2015-04-01|1"] == 42
    assert reported["2015-05-01|1"] == 12

    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    again = assert_scored(chain)
    pd.testing.assert_frame_equal(
        again.drop(columns="written_at"), first.drop(columns="written_at")
    )
    june = (first["origin"] == pd.Timestamp(2015, 5, 31)).to_numpy()
    assert (again.loc[june, "written_at"] == first.loc[june, "written_at"]).all()


def test_what_a_killed_refresh_left_unscored_is_scored_by_the_next(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    chain.load(date(2015, 6, 13))

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(accuracy, "replace_days", broken)
        with pytest.raises(Exception, match="killed"):
            chain.refresh()
    assert chain.frame(SCORES).empty
    assert chain.frame("SELECT * FROM sales.changes WHERE done_at IS NULL").empty
    chain.load(date(2015, 6, 14))
    chain.refresh()
    assert set(assert_scored(chain)["date"].dt.day) == {13, 14}


def test_champion_and_challenger_are_named_in_mlflow(
    chain: Chain, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)

    def named(alias: str) -> str:
        return str(client.get_model_version_by_alias("sales-forecast", alias).version)

    def trained() -> dict[str, object]:
        rows = chain.frame("SELECT * FROM sales.pooled_models ORDER BY created_at DESC LIMIT 1")
        (row,) = rows.drop(columns="model").to_dict("records")
        return row

    chain.load(date(2015, 6, 12))
    chain.refresh()
    monkeypatch.setenv("FORECAST_CHALLENGER", "stack")
    settings.cache_clear()
    chain.train("2015-06-01")
    champion = trained()
    assert named("champion") == champion["mlflow_version"]
    # With less than a year and a half of history both are the same: the one in force stays.
    assert champion["recipe"] == "ridge"
    challenger = client.get_model_version(name="sales-forecast", version=named("challenger"))
    assert challenger.tags["recipe"] == "stack"
    assert challenger.tags["trained_until"] == "2015-05-01", "the newest origin compared on"
    run = client.get_run(str(champion["mlflow_run_id"]))
    assert run.data.params["recipe"] == "ridge"
    assert run.data.metrics["contest/2015-05-01/stack/rmspe"] > 0
    assert (
        len(client.get_metric_history(run.info.run_id, "origin_rmspe"))
        == training.CALIBRATION_ORIGINS
    )
    pictures = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
    assert pictures == {"plots/importance.svg", "plots/accuracy_by_origin.svg"}

    monkeypatch.delenv("FORECAST_CHALLENGER")
    settings.cache_clear()
    chain.train("2015-03-01")
    assert trained()["trained_until"] == pd.Timestamp(2015, 3, 31)
    assert named("champion") == champion["mlflow_version"], "an older period's is no champion"


def test_the_second_recipe_is_compared_behind_the_first_training(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(sensor: dg.SensorDefinition) -> dg.RunRequest | str:
        with dg.build_sensor_context(
            instance=chain.instance, resources={"warehouse": WarehouseResource()}
        ) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.RunRequest | dg.SkipReason)
        return answer if isinstance(answer, dg.RunRequest) else str(answer.skip_message)

    def train(request: dg.RunRequest) -> dict[str, float]:
        job = chain.repository.get_job("train")
        run = job.execute_in_process(
            instance=chain.instance, partition_key=request.partition_key, tags=request.tags
        )
        assert run.success
        with chain.warehouse.transaction() as transaction:
            champion = models.champion_metrics(transaction)
        assert champion is not None
        return champion[1]

    monkeypatch.setenv("FORECAST_CHALLENGER", "stack")
    settings.cache_clear()
    chain.load(date(2015, 6, 12))
    assert request(train_challenger) == "there is no champion to challenge yet"
    chain.refresh()
    first = request(train_when_untrained)
    assert isinstance(first, dg.RunRequest)
    assert COMPARED_ORIGINS not in train(first), "forecasts do not wait for a comparison"
    assert "waiting for a refresh" in str(request(train_challenger))
    chain.refresh()

    second = request(train_challenger)
    assert isinstance(second, dg.RunRequest)
    assert second.tags[NICENESS_TAG] == "19"
    assert second.partition_key == "2015-06-01"
    assert train(second)[COMPARED_ORIGINS] == 2
    chain.refresh()
    assert "was chosen by a comparison" in str(request(train_challenger))
    monkeypatch.setenv("FORECAST_CHALLENGER", "none")
    settings.cache_clear()
    assert request(train_challenger) == "the settings name no challenger"


def test_the_columns_in_the_ui_are_the_tables(chain: Chain) -> None:
    stored = chain.frame(
        """
        SELECT c.relname AS name, a.attname AS column_name,
            format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'sales'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        """
    )
    for table, columns in TABLES.items():
        mine = stored[stored["name"] == table]
        expected = dict(zip(mine["column_name"], mine["type"], strict=True))
        assert {column.name: column.type for column in columns} == expected, table


def run_trace(urls: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a planner has it: the reader's role and nothing else."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FORECAST_")}
    return subprocess.run(
        [sys.executable, "-m", "forecast_assets", "trace", *arguments],
        env=environment
        | {
            "READER_DATABASE_URL": urls["READER_DATABASE_URL"],
            "DAGSTER_WEBSERVER_URL": "http://dagster:3000/",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
            "COLUMNS": "160",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_forecast_is_traced_to_its_model_and_offsets(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    asked = ("--store", "2", "--date", "2015-06-15")
    first = json.loads(run_trace(forecast_database, *asked, "--json").stdout)
    (issued,) = chain.frame(
        "SELECT * FROM sales.forecasts_issued WHERE store = 2 AND date = '2015-06-15'"
    ).to_dict("records")
    assert first["kind"] == "issued"
    assert first["origin"] == "2015-06-12"
    assert first["forecast"]["point"] == issued["point"]
    assert first["forecast"]["quantiles"]["0.025"] == issued["q0_025"]
    assert first["actual"] is None
    (version,) = chain.frame("SELECT * FROM sales.pooled_models").to_dict("records")
    assert first["model"]["version"] == issued["model_version"] == version["version"]
    assert first["parts"], "something weighed"
    assert first["links"] == {
        "dagster_run": f"http://dagster:3000/runs/{issued['refresh_id']}",
        "dagster_asset": "http://dagster:3000/assets/forecasts?partition=2015-06-01%7C2",
        "mlflow_run": f"http://mlflow:5000/#/runs/{version['mlflow_run_id']}",
        "mlflow_model": "http://mlflow:5000/#/models/sales-forecast/versions/"
        + version["mlflow_version"],
    }
    seen = chain.frame(
        "SELECT date, sales, topic_partition, kafka_offset FROM sales.cleaned_sales "
        "WHERE store = 2 ORDER BY date DESC LIMIT 28"
    )
    assert [(day["date"], day["sales"], day["offset"]) for day in first["sales"]] == [
        (f"{row.date:%Y-%m-%d}", row.sales, row.kafka_offset) for row in seen.itertuples()
    ]
    assert all(day["topic"].startswith("file:") for day in first["sales"])

    # A correction after the fact changes what counts now, not what that forecast had seen.
    chain.load(date(2015, 6, 12), as_of=datetime(2016, 1, 1, tzinfo=UTC), s2_2015_06_10=3)
    chain.run("refresh", "2015-06-01|2", "2015-06-01|2", refresh=True)
    second = json.loads(run_trace(forecast_database, *asked, "--json").stdout)
    assert second["run"]["id"] != first["run"]["id"]
    (old,) = (day for day in first["sales"] if day["date"] == "2015-06-10")
    (new,) = (day for day in second["sales"] if day["date"] == "2015-06-10")
    assert new["sales"] == 3 * old["sales"]
    assert (old["corrections"], new["corrections"]) == (0, 1)
    with chain.warehouse.transaction() as transaction:
        before = trace._sales_seen(
            transaction,
            trace.TraceRequest(2, date(2015, 6, 15), None, 28),
            date(2015, 6, 12),
            refresh_of(transaction, first["run"]["id"]),
        )
    assert before == first["sales"]

    shown = run_trace(forecast_database, *asked)
    assert shown.returncode == 0, shown.stderr
    for words in ("What weighed most", "Store 2, 2015-06-15, 3 days ahead", version["version"]):
        assert words in shown.stdout


def test_what_cannot_be_traced_is_said_in_one_line(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    for asked, said in (
        (("--store", "2", "--date", "2015-12-24"), "its forecasts are of 2015-06-13 to"),
        (("--store", "99", "--date", "2015-06-15"), "nor of any other day"),
        (
            ("--store", "2", "--date", "2015-06-15", "--origin", "2015-06-01"),
            "no forecast of 2015-06-15 from 2015-06-01",
        ),
    ):
        answer = run_trace(forecast_database, *asked)
        assert answer.returncode == 1
        assert said in answer.stderr
        assert len(answer.stderr.strip().splitlines()) == 1


def test_a_champion_that_slipped_is_trained_again_once(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain, cursor = forecast_chain, None

    def look(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=chain.instance, cursor=cursor, resources={"warehouse": WarehouseResource()}
        ) as context:
            answer = train_when_slipped(context)
        assert isinstance(answer, dg.SensorResult)
        return answer

    assert "no day has been scored" in str(look(cursor).skip_reason)
    chain.load(END)
    chain.refresh()
    held = look(cursor)
    assert "is as accurate as expected: WAPE" in str(held.skip_reason)
    assert held.cursor == str(END)

    with Warehouse(forecast_database["OWNER_DATABASE_URL"]).transaction() as transaction:
        transaction.execute(
            "UPDATE sales.forecast_accuracy SET absolute_error = 5 * absolute_error"
        )
    assert "no day has been scored since" in str(look(held.cursor).skip_reason)
    slipped = look("2015-06-18")
    (request,) = slipped.run_requests or []
    assert request.partition_key == "2015-06-01"
    assert request.run_key is not None and request.run_key.startswith("slipped-2015-06-12-")
    assert slipped.cursor == str(END)

    chain.train("2015-06-01")
    again = look("2015-06-18")
    assert "were scored on 0 days" in str(again.skip_reason), "the new champion is judged afresh"


def asked_by_the_training_sensor(chain: Chain) -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context(
        instance=chain.instance, resources={"warehouse": WarehouseResource()}
    ) as context:
        answer = train_when_untrained(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_after_an_upgrade_that_changed_the_models_training_is_asked_for(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = forecast_chain
    assert isinstance(asked_by_the_training_sensor(chain), dg.SkipReason)
    old = chain.frame("SELECT version FROM sales.pooled_models")["version"].tolist()
    for module in (models, pooled):
        monkeypatch.setattr(module, "MODEL_FORMAT", "a later one")
    monkeypatch.setattr(model_format, "MODEL_FORMAT", "a later one")
    with chain.warehouse.transaction() as transaction:
        assert models.count_pooled(transaction) == 0
        assert models.pooled_for(transaction, END) is None

    with pytest.raises(dg.Failure, match="materialize store_models of the same partitions"):
        chain.repository.get_job("__ASSET_JOB").get_subset(
            asset_selection={dg.AssetKey("forecasts")}
        ).execute_in_process(instance=chain.instance, partition_key="2015-06-01|1")

    request = asked_by_the_training_sensor(chain)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2015-06-01"
    assert request.run_key is not None and "a later one" in request.run_key
    chain.train(request.partition_key)
    chain.refresh()
    assert isinstance(asked_by_the_training_sensor(chain), dg.SkipReason)
    issued = chain.frame(ISSUED)
    newer = issued[~issued["model_version"].isin(old)]
    assert newer.groupby("store").size().to_dict() == dict.fromkeys(range(1, STORES + 1), 42)


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


def test_rows_outside_the_calendar_or_of_unknown_stores_are_refused(chain: Chain) -> None:
    train = kaggle.read_train(chain.folder)
    stores = kaggle.read_stores(chain.folder)

    def known(rows: pd.DataFrame) -> object:
        return loading.load(
            chain.warehouse,
            stores=stores,
            sales=rows,
            plans=train.iloc[:0],
            calendar=CALENDAR,
        )

    with pytest.raises(LoadError, match=r"outside the calendar.*2014-01-01 to 2015-08-31"):
        known(train.assign(date=train["date"] - pd.Timedelta(days=800)))
    with pytest.raises(LoadError, match="does not know"):
        known(train.assign(store=(train["store"] + 900).astype("int32")))
    assert chain.frame("SELECT * FROM sales.raw_sales").empty


def test_the_assets_role_cannot_change_what_was_issued(forecast_chain: Chain) -> None:
    for statement in (
        "DELETE FROM sales.forecasts_issued",
        "UPDATE sales.forecasts SET point = 0",
        "DELETE FROM sales.forecasts WHERE kind = 'issued'",
        "DELETE FROM sales.raw_sales",
        "UPDATE sales.forecast_accuracy SET mean = 0",
        "UPDATE sales.pooled_models SET version = 'x'",
    ):
        with (
            pytest.raises(Exception, match="permission denied"),
            forecast_chain.warehouse.transaction() as transaction,
        ):
            transaction.execute(statement)


def test_newest_days_finds_stores_that_stopped_long_ago(chain: Chain) -> None:
    train = kaggle.read_train(chain.folder)
    stopped = (train["store"] == 5) & (train["date"] > pd.Timestamp(2014, 6, 30))
    loading.load(
        chain.warehouse,
        stores=kaggle.read_stores(chain.folder),
        sales=train[~stopped],
        plans=train.iloc[:0],
        calendar=CALENDAR,
    )
    with chain.warehouse.transaction() as transaction:
        newest = sales.newest_days(transaction, "raw_sales", [1, 5, 99])
        earlier = sales.newest_days(transaction, "raw_sales", [1], until=END - timedelta(days=30))
    assert newest == {1: END, 5: date(2014, 6, 30)}
    assert earlier == {1: END - timedelta(days=30)}


def test_migrations_go_down_and_up_again(stack, fresh_database: dict[str, str]) -> None:
    environment = {**os.environ, "OWNER_DATABASE_URL": fresh_database["OWNER_DATABASE_URL"]}
    root = Path(__file__).parents[2]
    for step in (["downgrade", "base"], ["upgrade", "head"]):
        subprocess.run(
            [sys.executable, "-m", "alembic", *step], cwd=root, env=environment, check=True
        )
