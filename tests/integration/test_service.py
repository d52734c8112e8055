"""The service on a real database: what it answers, what it refuses, and who may do what."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet
import pytest

from forecasting import scoring
from local_stack.stack import Stack
from tests.support.chain import STORES
from tests.support.service import Service

#: Requests made from each operation's description, besides those that cover its bounds.
EXAMPLES = 5


def test_forecasts_in_force_page_by_page_and_in_every_format(service: Service) -> None:
    stored = service.frame("SELECT * FROM sales.current_forecasts ORDER BY store, date")
    with service.client() as client:
        rows: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": 100} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/forecasts", params=query).raise_for_status().json()
            assert len(page["items"]) <= 100
            rows += page["items"]
            cursor = page["next"]
        assert len(rows) == STORES * 42
        columns = list(rows[0])
        assert {"point", "mean", "q0_025", "plan_assumed", "refresh_id", "origin"} <= set(columns)
        read = pd.DataFrame(rows)
        for name in ("date", "origin"):
            read[name] = pd.to_datetime(read[name]).dt.date
        pd.testing.assert_frame_equal(read, stored[columns], check_dtype=False)

        parquet = client.get("/v1/forecasts?format=parquet").raise_for_status().content
        arrow = client.get("/v1/forecasts?format=arrow").raise_for_status().content
        csv = client.get("/v1/forecasts?format=csv").raise_for_status().content
        table = pyarrow.parquet.read_table(io.BytesIO(parquet))
        assert table == pyarrow.ipc.open_stream(arrow).read_all()
        for frame in (table.to_pandas(), pd.read_csv(io.BytesIO(csv))):
            assert frame["q0_9"].tolist() == pytest.approx(stored["q0_9"].tolist())

        one = {"store": 2, "shape": "nixtla", "from": "2015-06-15", "to": "2015-06-16"}
        days = client.get("/v1/forecasts", params=one).raise_for_status().json()["items"]
        wanted = [date(2015, 6, 15), date(2015, 6, 16)]
        expected = stored[(stored["store"] == 2) & stored["date"].isin(wanted)]
        assert [day["ds"] for day in days] == ["2015-06-15", "2015-06-16"]
        assert [day["model-lo-80"] for day in days] == expected["q0_1"].tolist()
        assert set(days[0]) == {
            *("unique_id", "ds", "model", "model-lo-80", "model-hi-80"),
            *("model-lo-95", "model-hi-95"),
        }

        then = client.get("/v1/forecasts?store=2&as_of=2015-06-12").raise_for_status().json()
        assert {row["origin"] for row in then["items"]} == {"2015-06-12"}


def test_what_was_forecast_for_a_day_before_it_came(service: Service) -> None:
    stored = service.frame(
        "SELECT store, point FROM sales.forecasts_issued WHERE date = '2015-06-13' "
        "AND origin = '2015-06-12' AND refresh_id = (SELECT refresh_id FROM "
        "sales.forecasts_issued WHERE origin = '2015-06-12' ORDER BY written_at DESC LIMIT 1) "
        "AND store < 3 ORDER BY store"
    )
    day: dict[str, Any] = {"store": [1, 2], "from": "2015-06-13", "to": "2015-06-13"}
    with service.client() as client:
        rows = client.get("/v1/forecasts/past", params=day | {"lead": 1}).json()["items"]
        none = client.get("/v1/forecasts/past", params=day | {"lead": 2}).json()["items"]
        assert client.get("/v1/forecasts/past").status_code == 422
    assert [(row["store"], row["point"]) for row in rows] == list(
        stored.itertuples(index=False, name=None)
    )
    assert {(row["origin"], row["horizon"], row["kind"]) for row in rows} == {
        ("2015-06-12", 1, "issued")
    }
    assert none == []


def test_an_unchanged_answer_is_304_until_a_refresh(service: Service) -> None:
    with service.client() as client:
        first = client.get("/v1/forecasts?store=1")
        known = {"If-None-Match": first.headers["etag"]}
        assert client.get("/v1/forecasts?store=1", headers=known).status_code == 304
        assert client.get("/v1/forecasts?store=2", headers=known).status_code == 200
        history = client.get("/v1/history?store=1")
        unchanged = client.get("/v1/history?store=1", headers={
            "If-None-Match": f"W/{history.headers['etag']}"})  # fmt: skip
        assert unchanged.status_code == 304
        assert not unchanged.content
        with psycopg.connect(service.urls["FORECAST_DATABASE_URL"]) as connection:
            connection.execute(
                "INSERT INTO sales.refreshes (refresh_id, finished_at, changes, stores, offsets) "
                "VALUES ('another', clock_timestamp(), 0, 0, '[]')"
            )
        renewed = client.get("/v1/forecasts?store=1", headers=known)
        assert renewed.status_code == 200
        again = client.get("/v1/forecasts?store=1")
        assert again.headers["etag"] == renewed.headers["etag"] != known["If-None-Match"]
        assert again.content == renewed.content == first.content


def test_history_and_stores(service: Service) -> None:
    stored = service.frame("SELECT * FROM sales.cleaned_sales WHERE store = 3 ORDER BY date")
    with service.client() as client:
        page = client.get("/v1/history?store=3&limit=1000").raise_for_status().json()
        assert [day["sales"] for day in page["items"]] == stored["sales"].tolist()
        stores = client.get("/v1/stores?limit=4").raise_for_status().json()
        rest = client.get("/v1/stores", params={"cursor": stores["next"]}).json()
        numbers = [store["store"] for store in stores["items"] + rest["items"]]
        assert numbers == list(range(1, STORES + 1))
        assert rest["next"] is None


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/forecasts?store=99", 404, "no such store: 99"),
        ("/v1/forecasts?store=1&store=99", 404, "no such store: 99"),
        ("/v1/forecasts?store=1&from=2016-01-01", 404, "covers 2015-06-14 to 2015-07-25"),
        ("/v1/forecasts?store=1&as_of=2015-06-01", 404, "no forecast from 2015-06-01"),
        ("/v1/history?store=99", 404, "no such store: 99"),
        ("/v1/accuracy?store=99", 404, "no such store: 99"),
        ("/v1/traces?store=1&date=2016-06-15", 404, "its forecasts are of"),
        ("/v1/changes?days=100", 404, "smaller `days`"),
        ("/v1/jobs/no-such-job", 404, "no job no-such-job"),
        ("/v1/jobs/plan-xx", 404, "no job plan-xx"),
        ("/training_job_status/no-such-job", 400, "no job no-such-job"),
    ],
)
def test_what_is_not_there_is_said(service: Service, path: str, status: int, said: str) -> None:
    with service.client() as client:
        answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_accuracy_beside_the_naive(service: Service) -> None:
    with service.client() as client:
        answer = client.get("/v1/accuracy?store=1&store=2").raise_for_status().json()
    (week,) = answer["items"]
    assert (answer["kind"], answer["last_day"]) == ("issued", "2015-06-13")
    met = service.frame(
        "SELECT f.q0_5, c.sales::float8 AS sales, n.sales::float8 AS naive "
        "FROM sales.forecasts_issued f JOIN sales.cleaned_sales c USING (store, date) "
        "JOIN sales.cleaned_sales n ON n.store = f.store AND n.date = f.date - 14 "
        "WHERE f.store IN (1, 2) AND f.origin = '2015-06-12' AND f.date = '2015-06-13' "
        "AND f.refresh_id = (SELECT refresh_id FROM sales.forecasts_issued "
        "WHERE origin = '2015-06-12' ORDER BY written_at DESC LIMIT 1)"
    )
    sales = met["sales"].to_numpy()
    assert week["wape"] == pytest.approx(scoring.wape(sales, met["q0_5"].to_numpy()))
    assert week["naive_wape"] == pytest.approx(scoring.wape(sales, met["naive"].to_numpy()))


def test_a_trace_and_what_changed_add_up(service: Service) -> None:
    with service.client() as client:
        trace = client.get("/v1/traces?store=2&date=2015-06-15").raise_for_status().json()
        assert trace["origin"] == "2015-06-13"
        assert trace["parts"]
        assert trace["sales"][0]["date"] == "2015-06-13"
        changed = client.get("/v1/changes?store=1&store=2").raise_for_status().json()["items"]
        every = client.get("/v1/changes").raise_for_status().json()["items"]
    assert [row["store"] for row in changed] == [
        row["store"] for row in every if row["store"] in (1, 2)
    ]
    for row in changed:
        assert (row["earlier_origin"], row["origin"]) == ("2015-06-12", "2015-06-13")
        for part in [row, *row["days"]]:
            causes = part["plan"] + part["sales"] + part["model"]
            assert causes == pytest.approx(part["change"], abs=1e-6)
        assert row["model"] == 0, "the same model made both"
        assert row["plan"] == pytest.approx(0, abs=1e-6), "no plan changed"
        assert len(row["days"]) == 41


def test_a_what_if_writes_nothing_and_says_what_it_has_never_seen(service: Service) -> None:
    before = service.frame("SELECT * FROM sales.current_forecasts ORDER BY store, date")
    with service.client() as client:
        nothing = {"changes": [{"store": 2, "first_day": "2015-06-15", "school_holiday": 0}]}
        same = client.post("/v1/scenarios", json=nothing).raise_for_status().json()
        assert same["stores"][0]["difference"] == pytest.approx(0, abs=1e-6)
        assert not any(day["changed"] for day in same["days"])
        asked = {
            "changes": [
                {"store": 2, "first_day": "2015-06-15", "open": 0},
                {"store": 2, "first_day": "2015-06-16", "promo": 1, "open": 1},
                {"store": 2, "first_day": "2015-06-17", "state_holiday": "c", "open": 1},
            ]
        }
        answer = client.post("/v1/scenarios", json=asked).raise_for_status().json()
        outside = {"changes": [{"store": 2, "first_day": "2015-09-01", "open": 0}]}
        refused = client.post("/v1/scenarios", json=outside)
    days = {day["date"]: day for day in answer["days"]}
    assert days["2015-06-15"]["scenario"]["point"] == 0
    assert days["2015-06-15"]["current"]["point"] > 0
    assert [day["date"] for day in answer["unseen"]] == ["2015-06-17"]
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["bounds"] == {"ge": "2015-06-14", "le": "2015-07-25"}
    after = service.frame("SELECT * FROM sales.current_forecasts ORDER BY store, date")
    pd.testing.assert_frame_equal(before, after)


def test_a_plan_is_sent_once_and_followed(service: Service) -> None:
    asked = {"changes": [{"store": 4, "first_day": "2015-06-16", "last_day": "2015-06-17",
                          "open": 0}]}  # fmt: skip
    key = {"Idempotency-Key": "plan-of-june"}
    service.sent.clear()
    with service.client("planner") as client:
        first = client.post("/v1/plans", json=asked, headers=key).raise_for_status()
        again = client.post("/v1/plans", json=asked, headers=key).raise_for_status()
        assert first.json()["job_id"] == again.json()["job_id"]
        (events,) = service.sent
        assert events["Date"].dt.date.tolist() == [date(2015, 6, 16), date(2015, 6, 17)]
        assert events["Open"].tolist() == [0, 0]
        job = client.get(first.headers["location"]).raise_for_status().json()
        assert (job["status"], job["done"]) == ("queued", False)
        assert len(job["before"]["days"]) == 42
        assert job["after"] is None
        nothing = {"changes": [{"store": 4, "first_day": "2015-06-16", "school_holiday": 0}]}
        done = client.post("/v1/plans", json=nothing).raise_for_status().json()
        assert (done["status"], done["done"]) == ("succeeded", True)
        assert done["after"] == done["before"]
    assert len(service.sent) == 1


def test_adjustments_stay_beside_the_model_and_are_judged(service: Service) -> None:
    asked = {"store": 5, "first_day": "2015-06-15", "percent": 10, "reason": "event",
             "note": "fair", "author": "Ada"}  # fmt: skip
    key = {"Idempotency-Key": "fair-of-june"}
    with service.client("planner") as client:
        made = client.post("/v1/adjustments", json=asked, headers=key).raise_for_status().json()
        again = client.post("/v1/adjustments", json=asked, headers=key).raise_for_status().json()
        assert made == again
        other = client.post("/v1/adjustments", json=asked | {"percent": 20}, headers=key)
        assert other.status_code == 409
        (day,) = client.get("/v1/adjustments/days?store=5").raise_for_status().json()["items"]
        assert day["adjusted"] == pytest.approx(1.1 * day["model"])
        last = {**asked, "percent": None, "value": 1234, "author": "Bob"}
        newest = client.post("/v1/adjustments", json=last).raise_for_status().json()
        (day,) = client.get("/v1/adjustments/days?store=5").json()["items"]
        assert (day["adjusted"], day["author"]) == (1234, "Bob")
        taken_back = client.post(
            f"/v1/adjustments/{newest['adjustment_id']}/withdrawal", json={"note": "rain"}
        ).raise_for_status()
        assert taken_back.json()["withdraws"] == newest["adjustment_id"]
        twice = client.post(f"/v1/adjustments/{newest['adjustment_id']}/withdrawal", json={})
        assert twice.status_code == 409
        late = {**asked, "expires_at": "2015-01-01T00:00:00Z"}
        assert client.post("/v1/adjustments", json=late).status_code == 422
        (day,) = client.get("/v1/adjustments/days?store=5").json()["items"]
        assert day["author"] == "Ada"
        states = [row["state"] for row in client.get("/v1/adjustments?store=5").json()["items"]]
        assert states == ["withdrawal", "withdrawn", "in force"]
        assert client.get("/v1/accuracy/value-added").json() == {"items": [], "total": None}

        # The day's sales come: now it shows what the adjustment was worth.
        sales = 7000
        with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
            owner.execute(
                "INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, "
                "event_time, store, date, day_of_week, sales, customers, open, promo, "
                "state_holiday, school_holiday) SELECT min(stream_id), 0, 1000000, now(), 5, "
                "'2015-06-15', 1, %s, 1, 1, 0, '0', 0 FROM sales.streams",
                (sales,),
            )
            owner.execute(
                "INSERT INTO sales.cleaned_sales (store, date, day_of_week, sales, customers, "
                "open, promo, state_holiday, school_holiday, corrections, stream_id, "
                "topic_partition, kafka_offset, event_time) SELECT store, date, day_of_week, "
                "sales, customers, open, promo, state_holiday, school_holiday, 0, stream_id, "
                "topic_partition, kafka_offset, event_time FROM sales.raw_sales "
                "WHERE kafka_offset = 1000000 AND store = 5 AND date = '2015-06-15'"
            )
        report = client.get("/v1/accuracy/value-added?author=Ada").raise_for_status().json()
        hindsight = client.post("/v1/adjustments", json=asked | {"percent": 1})
        assert hindsight.status_code == 422
        assert client.post("/v1/adjustments", json=asked, headers=key).json() == made, "sent again"
        with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
            owner.execute("DELETE FROM sales.cleaned_sales WHERE store = 5 AND date > '2015-06-13'")
            owner.execute("DELETE FROM sales.raw_sales WHERE kafka_offset = 1000000")
    naive = service.frame(
        "SELECT sales FROM sales.cleaned_sales WHERE store = 5 AND date = '2015-06-01'"
    )["sales"].iloc[0]
    (row,) = report["items"]
    assert (row["author"], row["reason"], row["days"]) == ("Ada", "event", 1)
    assert row["model_wape"] == pytest.approx(abs(sales - day["model"]) / sales)
    assert row["adjusted_wape"] == pytest.approx(abs(sales - 1.1 * day["model"]) / sales)
    assert row["naive_wape"] == pytest.approx(abs(sales - naive) / sales)
    assert row["value_added"] == pytest.approx(row["model_wape"] - row["adjusted_wape"])


def test_comments_are_kept(service: Service) -> None:
    with service.client("planner") as client:
        asked = {"store": 1, "date": "2015-06-15", "text": "=shop refitted"}
        made = client.post("/v1/comments", json=asked).raise_for_status().json()
        (read,) = client.get("/v1/comments?store=1").raise_for_status().json()["items"]
        assert client.post("/v1/comments", json=asked | {"store": 99}).status_code == 404
        for day, bound in (
            ("2010-01-05", {"ge": "2014-02-05"}),
            ("2150-12-04", {"le": "2016-06-13"}),
        ):
            refused = client.post("/v1/comments", json=asked | {"date": day})
            assert refused.status_code == 422
            (error,) = refused.json()["errors"]
            assert (error["field"], error["bounds"]) == ("body.date", bound)
    assert (read["comment_id"], read["author"]) == (made["comment_id"], "planner")


@pytest.mark.parametrize(
    ("days", "field"),
    [
        ({"first_day": "2015-06-13"}, "body.first_day"),
        ({"first_day": "2150-01-01"}, "body.first_day"),
        ({"first_day": "2016-06-13", "last_day": "2016-06-14"}, "body.last_day"),
    ],
)
def test_an_adjustment_of_days_that_are_over_or_far_is_refused(
    service: Service, days: dict[str, str], field: str
) -> None:
    asked = {"store": 1, "percent": 10, "reason": "event"} | days
    with service.client("planner") as client:
        refused = client.post("/v1/adjustments", json=asked)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM sales.adjustments",
        "SELECT * FROM sales.service_tokens",
        "SELECT * FROM sales.cleaned_sales",
        "SELECT rolpassword FROM pg_authid",
        "UPDATE sales.adjustments SET percent = 0",
        "DELETE FROM sales.adjustments",
        "INSERT INTO sales.cleaned_sales (store) VALUES (1)",
        "INSERT INTO sales.raw_sales (store) VALUES (1)",
        "INSERT INTO sales.adjustments (adjustment_id, store, first_day, last_day, percent, reason,"
        " author, made_at) VALUES (gen_random_uuid(), 1, '2015-06-15', '2015-06-15', 1, 'event',"
        " 'x', '2015-01-01')",
        "SELECT * FROM sales.token_scopes('\\x00')",
    ],
)
def test_the_planners_role_inserts_and_nothing_else(service: Service, statement: str) -> None:
    with (
        psycopg.connect(service.urls["PLANNER_DATABASE_URL"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_scopes_decide(service: Service) -> None:
    adjustment = {"store": 1, "first_day": "2015-06-15", "value": 1, "reason": "other"}
    for client_name, path, body, status in (
        ("reader", "/v1/adjustments", adjustment, 403),
        ("trainer", "/v1/adjustments", adjustment, 403),
        ("planner", "/v1/stores/1/retrain", None, 403),
        ("reader", "/train", None, 403),
    ):
        with service.client(client_name) as client:
            assert client.post(path, json=body).status_code == status, path
    with (
        psycopg.connect(service.urls["READER_DATABASE_URL"]) as reader,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        reader.execute("SELECT * FROM sales.service_tokens")


def test_a_retraining_is_one_run_and_followed_to_its_true_end(service: Service) -> None:
    service.dagster.runs.clear()
    with service.client("trainer") as client:

        def ask(_: int) -> dict[str, Any]:
            answer = client.post("/v1/stores/1/retrain")
            assert answer.status_code == 202, answer.text
            return answer.json()

        with ThreadPoolExecutor(8) as pool:
            jobs = list(pool.map(ask, range(8)))
        assert len(service.dagster.runs) == 1
        assert len({job["job_id"] for job in jobs}) == 1
        (run,) = service.dagster.runs
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert (run["jobName"], tags["dagster/partition"]) == ("train", "2015-06-01")
        status = f"/v1/jobs/{run['runId']}"
        for dagsters, ours, done in (
            ("STARTED", "running", False), ("FAILURE", "failed", True),
            ("CANCELED", "cancelled", True), ("SUCCESS", "succeeded", True),
        ):  # fmt: skip
            run["status"] = dagsters
            job = client.get(status).raise_for_status().json()
            assert (job["status"], job["done"]) == (ours, done)
        assert job["before"]["days"]
        assert job["after"]["origin"] == "2015-06-13"
        assert client.get(f"/training_job_status/{run['runId']}").json() == {
            "train_job_id": run["runId"], "status": "succeeded"}  # fmt: skip

        key = {"Idempotency-Key": "refresh-once"}
        first = client.post("/v1/stores/3/refresh", headers=key).json()
        service.dagster.runs[0]["status"] = "SUCCESS"
        again = client.post("/v1/stores/3/refresh", headers=key).json()
        assert first["job_id"] == again["job_id"]
        # A run that Dagster made and never started may be asked for again.
        service.dagster.runs[0] |= {"status": "FAILURE", "startTime": 9.0, "endTime": 9.0}
        never = client.get(f"/v1/jobs/{first['job_id']}").json()
        assert (never["status"], "send the request again" in never["detail"]) == ("failed", True)
        anew = client.post("/v1/stores/3/refresh", headers=key).json()
        assert anew["job_id"] != first["job_id"]
        tags = {tag["key"]: tag["value"] for tag in service.dagster.runs[0]["tags"]}
        assert tags["dagster/asset_partition_range_start"] == "2015-06-01|3"
        assert tags["forecast/refresh"] == "true"
        assert client.post("/v1/stores/99/refresh").status_code == 404
        service.dagster.away = True
        away = client.post("/v1/stores/1/retrain")
        assert away.status_code == 503
        assert away.headers["retry-after"]
        ready = client.get("/health/ready")
        assert "ConnectError" in ready.json()["checks"]["dagster"]
        service.dagster.away = False
        assert client.get("/health/ready").json()["ready"], ready.text


def test_the_earlier_systems_clients_get_their_shapes(service: Service) -> None:
    stored = service.frame("SELECT * FROM sales.current_forecasts WHERE store = 2 ORDER BY date")
    with service.client("trainer") as client:
        asked = [{"store_id": "2", "product_name": "any; rm -rf /"},
                 {"store_id": 2, "begin_date": "2015-06-20", "end_date": "2015-06-21"}]  # fmt: skip
        answer = client.post("/forecast", json=asked).raise_for_status().json()
        assert [len(entry["forecast"]) for entry in answer] == [7, 2]
        assert answer[0]["forecast"][0] == {
            "timestamp": "2015-06-14T00:00:00",
            "value": stored["point"].iloc[0],
            "lower_ci": stored["q0_1"].iloc[0],
            "upper_ci": stored["q0_9"].iloc[0],
        }
        assert answer[0]["api"]["model_version"] == stored["model_version"].iloc[0]
        closed = stored[stored["open"] == 0]["date"].iloc[0]
        day = [{"store_id": 2, "begin_date": str(closed), "end_date": str(closed)}]
        assert client.post("/forecast", json=day).json()[0]["forecast"][0]["value"] == 0
        assert set(client.post("/train").raise_for_status().json()) == {"train_job_id", "status"}
        one = client.post("/1/any product/train").raise_for_status().json()
        assert set(one) == {"train_job_id", "status"}
    with service.client("") as nobody:
        assert nobody.get("/health").json() == {
            "serviceStatus": "OK", "modelTrackingHealth": "not configured"}  # fmt: skip


def test_twenty_users_and_a_database_that_goes_away(service: Service, stack: Stack) -> None:
    """Answers are right or a clean 503, and right again by itself afterwards."""
    name = service.urls["READER_DATABASE_URL"].rpartition("/")[2]
    with service.client() as client:
        expected = {
            store: client.get(f"/v1/forecasts?store={store}").raise_for_status().content
            for store in range(1, STORES + 1)
        }
    stop, wrong, statuses = threading.Event(), [], []

    def use(user: int) -> None:
        store = user % STORES + 1
        with service.client() as mine:
            while not stop.is_set():
                answer = mine.get(f"/v1/forecasts?store={store}")
                statuses.append(answer.status_code)
                if answer.status_code == 200 and answer.content != expected[store]:
                    wrong.append(answer.text)
                if answer.status_code != 200 and (
                    answer.status_code != 503 or "retry-after" not in answer.headers
                ):
                    wrong.append(answer.text)
                time.sleep(0.02)

    with ThreadPoolExecutor(20) as pool, stack.postgres.admin_connection() as admin:
        users = [pool.submit(use, user) for user in range(20)]
        try:
            deadline = time.monotonic() + 20
            while len(statuses) < 100 and time.monotonic() < deadline:
                time.sleep(0.05)
            calm = len(statuses)
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            time.sleep(1.5)
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        deadline = time.monotonic() + 15
        while statuses[-20:] != [200] * 20 and time.monotonic() < deadline:
            time.sleep(0.1)
        stop.set()
        for user in users:
            user.result()
    assert not wrong
    assert set(statuses[:calm]) == {200}
    assert 503 in statuses
    assert statuses[-20:] == [200] * 20


def test_it_answers_as_its_description_says(service: Service, tmp_path: Path) -> None:
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.address}/openapi.json"),
            *("--header", f"Authorization: Bearer {service.tokens['planner']}"),
            # They would start runs; they are tested above.
            *("--exclude-path-regex", "train|refresh", "--phases", "examples,coverage,fuzzing"),
            # What only a look at the data shows to be wrong, the description cannot say.
            *("--exclude-checks", "positive_data_acceptance", "--max-examples", str(EXAMPLES)),
            *("--generation-deterministic", "--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert answer.returncode == 0, answer.stdout[-20_000:] + answer.stderr[-2_000:]


def test_expiry_is_a_time_of_the_clock(service: Service) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.7)
    asked = {"store": 6, "first_day": "2015-06-20", "value": 1, "reason": "data",
             "expires_at": soon.isoformat()}  # fmt: skip
    with service.client("planner") as client:
        client.post("/v1/adjustments", json=asked).raise_for_status()
        assert client.get("/v1/adjustments/days?store=6").json()["items"]
        time.sleep(0.8)
        assert not client.get("/v1/adjustments/days?store=6").json()["items"]
        assert not client.get("/v1/adjustments?store=6&in_force=true").json()["items"]
