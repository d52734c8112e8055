"""The commands that read forecasts: `trace`, `forecast`, `accuracy`, and the README's queries."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from typer.testing import CliRunner

from forecast_assets.commands import forecast
from forecast_assets.commands.main import app
from forecast_assets.settings import settings
from forecasting import scoring
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.models.naive import seasonal_naive
from streaming_job import requeue
from streaming_job.reason_codes import Reason
from streaming_job.settings import StreamSettings
from streaming_job.withdraw import withdraw
from tests.support.chain import STORES, Chain
from warehouse import lineage
from warehouse.connection import Transaction
from warehouse.trace import refresh as refresh_of


def run_command(urls: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a planner has it: the reader's role and nothing else."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FORECAST_")}
    return subprocess.run(
        [sys.executable, "-m", "forecast_assets", *arguments],
        env=environment
        | {
            "READER_DATABASE_URL": urls["READER_DATABASE_URL"],
            "DAGSTER_WEBSERVER_URL": "http://dagster:3000/",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
            "COLUMNS": "80",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def run_trace(urls: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(urls, "trace", *arguments)


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a command fails with."""
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    return answer.stderr


def seen_by(chain: Chain, refresh_id: str) -> list[dict[str, object]]:
    with chain.warehouse.transaction() as transaction:
        return lineage.sales_seen(
            transaction, 2, date(2015, 6, 12), 28, refresh_of(transaction, refresh_id)
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
        "dagster_partition": "http://dagster:3000/assets/forecasts"
        "?view=partitions&partition=2015-06-01%7C2",
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
    assert seen_by(chain, first["run"]["id"]) == first["sales"]

    # Nor does a withdrawal, nor what a person takes in again: the old forecast saw the old number.
    url = forecast_database["STREAM_DATABASE_URL"]
    withdraw(url, 2, date(2015, 6, 10), "tripled", every=True)
    assert seen_by(chain, first["run"]["id"]) == first["sales"]
    stream = StreamSettings(stream_database_url=url, kafka_bootstrap_servers="none")
    assert requeue.requeue(stream, reasons=[Reason.WITHDRAWN]) == 2
    assert seen_by(chain, first["run"]["id"]) == first["sales"]

    shown = run_trace(forecast_database, *asked)
    assert shown.returncode == 0, shown.stderr
    for words in ("What weighed most", "Store 2, 2015-06-15, 3 days ahead", version["version"]):
        assert words in shown.stdout
    lines = shown.stdout.splitlines()
    for name, address in first["links"].items():
        assert f"{name.replace('_', ' ')}: {address}" in lines or name == "dagster_run"

    shown = run_trace(forecast_database, "--store", "2", "--json")
    newest = json.loads(shown.stdout)
    assert (newest["origin"], newest["date"]) == ("2015-06-12", "2015-06-13")


def test_what_cannot_be_traced_is_said_in_one_line(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    for asked, said in (
        (("--store", "2", "--date", "2015-12-24"), "its forecasts are of 2015-06-13 to"),
        (("--store", "99", "--date", "2015-06-15"), "store 99 has no forecast of any day: "),
        (("--store", "99"), "store 99 has no forecast of any day: "),
        (
            ("--store", "2", "--date", "2015-06-15", "--origin", "2015-06-01"),
            "no forecast of 2015-06-15 from 2015-06-01",
        ),
    ):
        assert said in refused(run_trace(forecast_database, *asked))


def test_the_forecasts_in_force_are_shown(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    in_force = "SELECT * FROM sales.current_forecasts WHERE store = ANY('{2,5}') AND horizon <= 7"
    stored = chain.frame(f"{in_force} ORDER BY store, date")
    asked = ("forecast", "--store", "5", "--store", "2", "--days", "7")
    table = run_command(forecast_database, *asked)
    assert table.returncode == 0, table.stderr
    assert "from the sales up to 2015-06-12" in table.stdout
    assert f"{stored['point'].iloc[0]:,.0f}" in table.stdout
    assert "…" not in table.stdout

    listed = run_command(forecast_database, "forecast", "--store", "2,5", "--format", "csv")
    read = pd.read_csv(io.StringIO(listed.stdout), parse_dates=["date", "origin"])
    same = ["store", "date", "origin", "horizon", "open", "point", "mean", *QUANTILE_COLUMNS]
    pd.testing.assert_frame_equal(read[same], stored[same], check_dtype=False)
    as_json = json.loads(run_command(forecast_database, *asked, "--format", "json").stdout)
    assert [row["point"] for row in as_json] == stored["point"].tolist()
    assert {row["model_version"] for row in as_json} == set(stored["model_version"])
    everyone = run_command(forecast_database, "forecast", "--days", "1", "--format", "json")
    assert [row["store"] for row in json.loads(everyone.stdout)] == list(range(1, STORES + 1))

    # A later refresh does not change what was in force at an earlier origin.
    chain.load_day(date(2015, 6, 13))
    chain.refresh()
    then = run_command(forecast_database, *asked, "--as-of", "2015-06-12", "--format", "json")
    assert json.loads(then.stdout) == as_json
    now = json.loads(run_command(forecast_database, *asked, "--format", "json").stdout)
    assert {row["origin"] for row in now} == {"2015-06-13"}
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    past = json.loads(
        run_command(forecast_database, *asked, "--as-of", "2015-04-30", "--format", "json").stdout
    )
    assert {row["kind"] for row in past} == {"backtest"}

    for wrong, message in (
        (("--store", "99"), "store 99: no such store. The chain has 6 stores, from 1 to 6"),
        (("--store", "2", "--days", "43"), "ask for at most 42 days"),
        (("--store", "2", "--as-of", "2015-05-01"), "issued from 2015-06-12 to 2015-06-13"),
    ):
        assert message in refused(run_command(forecast_database, "forecast", *wrong))


def test_forecasts_that_are_committed_while_the_command_looks_are_waited_for(
    fresh_database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look finds nothing, then store 7 has a forecast; the second look lacks store 12."""
    owner = psycopg.connect(fresh_database["OWNER_DATABASE_URL"], autocommit=True)
    owner.execute(
        "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
        "SELECT store, 'a', 'a', 0 FROM unnest(ARRAY[7, 12]) store"
    )
    owner.execute("SELECT sales.ensure_months(date '2026-11-01', date '2026-12-31')")
    quantiles = ", ".join(QUANTILE_COLUMNS)
    unissued, real = [7, 12], Transaction.rows

    def rows(self: Transaction, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        read = real(self, query, parameters)
        if "WITH newest" in query and unissued:
            owner.execute(
                f"INSERT INTO sales.forecasts (kind, store, origin, date, horizon, open, point, "
                f"mean, {quantiles}, plan_assumed, refresh_id) SELECT 'issued', {unissued.pop(0)}, "
                f"date '2026-11-26', date '2026-11-26' + ahead, ahead, 1, 5, 5, "
                f"{', '.join('5' for _ in QUANTILE_COLUMNS)}, false, 'first' "
                "FROM generate_series(1, 42) ahead"
            )
        return read

    monkeypatch.setattr(Transaction, "rows", rows)
    monkeypatch.setattr(forecast, "LOOK_SECONDS", 0)
    monkeypatch.setenv("READER_DATABASE_URL", fresh_database["READER_DATABASE_URL"])
    settings.cache_clear()
    try:
        shown = CliRunner().invoke(
            app, ["forecast", "--store", "7,12", "--days", "3", "--wait", "1", "--format", "json"]
        )
        assert shown.exit_code == 0, shown.exception
        assert [row["store"] for row in json.loads(shown.stdout)] == [7, 7, 7, 12, 12, 12]
        unknown = CliRunner().invoke(app, ["trace", "--store", "99"])
        assert "store 99 has no forecast of any day: " in str(unknown.exception)
        future = CliRunner().invoke(app, ["forecast", "--store", "7", "--as-of", "2130-01-01"])
        assert future.exit_code == 2
        assert "2130-01-01 is yet to come" in " ".join(future.stderr.replace("│", " ").split())
    finally:
        settings.cache_clear()
        owner.close()


def test_before_the_first_forecast_commands_say_how_to_wait(
    chain: Chain, fresh_database: dict[str, str]
) -> None:
    empty = refused(run_command(fresh_database, "forecast", "--store", "2"))
    assert "no stores yet" in empty
    chain.load(date(2015, 6, 12))
    for command in (("forecast", "--store", "2"), ("trace", "--store", "2")):
        assert "wait for them with `--wait 10`" in refused(run_command(fresh_database, *command))
    scores = refused(run_command(fresh_database, "accuracy", "--store", "2"))
    assert "no forecast of these stores has met its day yet" in scores


def test_accuracy_is_shown_beside_the_naive(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    chain.run("refresh", "2015-04-01|1", f"2015-04-01|{STORES}")
    backtests = json.loads(run_command(forecast_database, "accuracy", "--format", "json").stdout)
    assert {row["kind"] for row in backtests} == {"backtest"}, "no issued forecast has met its day"
    for day in (13, 14, 15):
        chain.load_day(date(2015, 6, day))
        chain.refresh()
    shown = run_command(forecast_database, "accuracy", "--store", "2,3", "--format", "json")
    rows = {row["store"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == {2, 3, "all"}
    forecasts = chain.frame("SELECT * FROM sales.forecasts_issued WHERE store IN (2, 3)")
    days = chain.frame("SELECT store, date, sales::float8 AS sales, open FROM sales.cleaned_sales")
    for store, row in rows.items():
        met = forecasts.merge(days[["store", "date", "sales"]], on=["store", "date"])
        met = met if store == "all" else met[met["store"] == store]
        naive = pd.concat(
            seasonal_naive(days, pd.Series(origin, index=group["store"].unique()), 42)
            for origin, group in met.groupby("origin")
        )
        both = met.merge(
            naive[["store", "origin", "date", "point"]].rename(columns={"point": "naive"}),
            on=["store", "origin", "date"],
        )
        both["naive"] = both["naive"].fillna(0.0) * both["open"]
        assert row["forecasts"] == len(both) == (6 if store != "all" else 12)
        actual = both["sales"].to_numpy()
        expected = {
            "wape": scoring.wape(actual, both["q0_5"].to_numpy()),
            "naive_wape": scoring.wape(actual, both["naive"].to_numpy()),
            "rmspe": scoring.rmspe(actual, both["point"].to_numpy()),
            "naive_rmspe": scoring.rmspe(actual, both["naive"].to_numpy()),
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    table = run_command(forecast_database, "accuracy", "--store", "2").stdout
    assert "Issued forecasts of 2015-05-19 to 2015-06-15" in table
    assert "99" in refused(run_command(forecast_database, "accuracy", "--store", "99"))


def test_the_readmes_queries_answer_the_reader(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    queries = [
        query
        for block in re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
        for query in block.split(";")
        if query.strip()
    ]
    assert len(queries) >= 2
    with psycopg.connect(forecast_database["READER_DATABASE_URL"]) as reader:
        for query in queries:
            assert reader.execute(query).fetchall(), query
