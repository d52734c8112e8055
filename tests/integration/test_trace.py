"""The command `trace`: from a forecast to its model, its sales and their offsets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from forecast_assets.commands import trace
from tests.support.chain import Chain
from warehouse.trace import refresh as refresh_of


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
