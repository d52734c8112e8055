"""The worklist on a real database: each fact that a rule reads, made in the tables themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest

from tests.support.chain import STORES
from tests.support.service import Service

TODAY = date(2015, 6, 13)


@pytest.fixture(autouse=True)
def unchanged(service: Service) -> Iterator[None]:
    """Take back what a test has written, whatever it was."""
    tables = ("forecast_accuracy", "forecast_totals", "planned_days", "cleaned_sales",
              "adjustments", "changes")  # fmt: skip
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"], autocommit=True) as owner:
        for table in tables:
            owner.execute(f"CREATE TABLE kept_{table} AS TABLE sales.{table}".encode())
        yield
        for table in tables:
            owner.execute(f"DELETE FROM sales.{table}".encode())
            identity = "OVERRIDING SYSTEM VALUE" if table == "changes" else ""
            owner.execute(f"INSERT INTO sales.{table} {identity} TABLE kept_{table}".encode())
            owner.execute(f"DROP TABLE kept_{table}".encode())


def change(service: Service, *statements: str) -> None:
    """Write something, as a refresh would: what is remembered is then made again."""
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
        for statement in (*statements, "UPDATE sales.refreshes SET finished_at = now()"):
            owner.execute(statement.encode())


def worklist(service: Service, **query: Any) -> dict[str, Any]:
    with service.client() as client:
        answer = client.get("/v1/worklist", params=query).raise_for_status()
    result: dict[str, Any] = answer.json()
    return result


def sentences(service: Service, code: str) -> dict[int, dict[str, Any]]:
    """Return the reason of each store that has it."""
    return {
        item["store"]: reason
        for item in worklist(service, reason=code)["items"]
        for reason in item["reasons"]
        if reason["code"] == code
    }


def test_sales_at_stake_are_the_next_two_weeks_and_ranks_follow_the_reasons(
    service: Service,
) -> None:
    change(service, "DELETE FROM sales.cleaned_sales WHERE store IN (2, 5) AND date = '2015-06-11'")
    answer = worklist(service)
    assert (answer["today"], answer["last_day"]) == (str(TODAY), "2015-06-27")
    assert answer["stores"] == STORES
    forecasts = service.frame(
        "SELECT store, sum(mean) AS mean FROM sales.current_forecasts "
        "WHERE date <= '2015-06-27' GROUP BY store"
    ).set_index("store")["mean"]
    items = answer["items"]
    assert {2, 5} <= {item["store"] for item in items}
    assert [item["rank"] for item in items] == list(range(1, len(items) + 1))
    questions = [item["sales_in_question"] for item in items]
    assert questions == sorted(questions, reverse=True)
    for item in items:
        assert item["sales_at_stake"] == pytest.approx(forecasts[item["store"]])
        parts = [reason["sales"] for reason in item["reasons"]]
        assert item["sales_in_question"] == pytest.approx(sum(parts))
        assert parts == sorted(parts, reverse=True)


def test_a_missing_day_is_told_for_the_store_alone(service: Service) -> None:
    change(service, "DELETE FROM sales.cleaned_sales WHERE store = 4 AND date = '2015-06-10'")
    missing = sentences(service, "missing_day")
    assert set(missing) == {4}
    assert (
        f"Sales of Wed 10 Jun have not come, although {STORES - 1} stores" in missing[4]["sentence"]
    )
    change(service, "DELETE FROM sales.cleaned_sales WHERE date = '2015-06-10'")
    assert sentences(service, "missing_day") == {}, "no store sent it: the chain's own problem"


def test_accuracy_that_slipped_and_days_outside_their_range(service: Service) -> None:
    change(
        service,
        "DELETE FROM sales.forecast_accuracy",
        "INSERT INTO sales.forecast_accuracy SELECT 'issued', c.store, c.date, 1, NULL, 'v', 2, 2, "
        "2 * c.sales, 2 * c.sales, 2 * c.sales * CASE WHEN c.store = 3 AND c.date > '2015-05-30' "
        "THEN 0.6 ELSE 0.1 END, 0.02, 2, CASE WHEN c.store = 6 AND c.date IN "
        "('2015-06-09', '2015-06-10', '2015-06-12') OR c.store = 4 AND c.date IN "
        "('2015-06-10', '2015-06-12') THEN 0 ELSE 2 END, now() "
        "FROM sales.cleaned_sales c WHERE c.sales > 0 AND c.date > '2015-04-18'",
    )
    slipped = sentences(service, "accuracy_slipped")
    assert "off by 60.0 % of sales" in slipped[3]["sentence"]
    outside = sentences(service, "outside_range")
    assert set(outside) == {6}
    assert "3 of the last 7 days" in outside[6]["sentence"]
    assert "last on Fri 12 Jun" in outside[6]["sentence"]


def test_the_naive_beside_recent_errors_is_that_of_the_accuracy_endpoint(service: Service) -> None:
    from warehouse.service import worklist as statements

    change(
        service,
        "DELETE FROM sales.forecast_accuracy",
        "INSERT INTO sales.forecast_accuracy SELECT 'issued', c.store, c.date, 1, NULL, 'v', 1, 1, "
        "c.sales, c.sales, 0, 0, 1, 1, now() FROM sales.cleaned_sales c "
        "WHERE c.sales > 0 AND c.date > '2015-04-18'",
    )
    with psycopg.connect(
        service.urls["READER_DATABASE_URL"], cursor_factory=psycopg.RawCursor
    ) as reader:
        cursor = reader.execute(statements.ACCURACY, (TODAY,))
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        facts = pd.DataFrame(cursor.fetchall(), columns=names).set_index("store")
    sales = service.frame("SELECT store, date, sales FROM sales.cleaned_sales WHERE sales > 0")
    for store, days in sales.groupby("store"):
        by_day = dict(zip(days["date"], days["sales"], strict=True))
        error = 0
        for day in (TODAY - timedelta(days=back) for back in range(14)):
            if day in by_day:
                earlier = (day - timedelta(days=back) for back in (14, 28, 42, 56))
                naive = next((by_day[other] for other in earlier if other in by_day), 0)
                error += abs(by_day[day] - naive)
        assert facts.loc[store, "naive_error"] == pytest.approx(error)


def test_a_forecast_that_moved_more_than_it_does(service: Service) -> None:
    rows = [
        f"INSERT INTO sales.forecast_totals SELECT level, member, grain, date '{TODAY}' - {7 * k}, "
        "first_day, last_day, days, mean * CASE WHEN member = '2' AND "
        f"{k} > 0 THEN 0.8 ELSE 1 + 0.01 * ({k} % 2) END, q0_025, q0_1, q0_2, q0_3, q0_4, q0_5, "
        f"q0_6, q0_7, q0_8, q0_9, q0_975, model_version, 'week {k}', "
        f"written_at - interval '{k} days' FROM sales.current_totals "
        "WHERE level = 'store' AND refresh_id NOT LIKE 'week%'"
        for k in range(1, 7)
    ]
    change(service, *rows)
    moved = sentences(service, "forecast_moved")
    assert set(moved) == {2}
    assert "Mon 15 Jun to Sun 19 Jul went up by 25.0 %" in moved[2]["sentence"]
    assert "0.0 % a week is usual" in moved[2]["sentence"]


def test_plans_that_were_never_seen_or_are_assumed(service: Service) -> None:
    change(
        service,
        "UPDATE sales.planned_days SET state_holiday = 'b', open = 1, promo = 1 "
        "WHERE store = 1 AND date = '2015-06-16'",
    )
    unseen = sentences(service, "plan_never_seen")
    assert 1 in unseen
    assert "Tue 16 Jun" in unseen[1]["sentence"]
    assert "Tuesday with promo, on Easter" in unseen[1]["sentence"]
    assumed = service.frame(
        "SELECT store, count(*) AS days FROM sales.current_forecasts "
        "WHERE plan_assumed AND date <= '2015-06-27' GROUP BY store"
    )
    told = sentences(service, "plan_assumed")
    assert set(told) == set(assumed["store"])


def test_adjustments_that_end(service: Service) -> None:
    add = (
        "INSERT INTO sales.adjustments (adjustment_id, store, first_day, last_day, percent, reason,"
        " author, expires_at, made_at) VALUES (gen_random_uuid(), {store}, '2015-06-15', "
        "'2015-06-20', 10, 'event', 'Ada', now() + interval '{expiry}', now() - interval '{age}')"
    )
    change(
        service,
        add.format(store=1, expiry="-1 day", age="9 days"),
        add.format(store=2, expiry="1 day", age="9 days"),
        add.format(store=3, expiry="9 days", age="9 days"),
        add.format(store=4, expiry="-9 days", age="19 days"),
        add.format(store=5, expiry="-1 day", age="9 days"),
        add.format(store=5, expiry="30 days", age="1 day"),
    )
    ended = sentences(service, "adjustment_expiry")
    assert set(ended) == {1, 2}
    assert "expired on" in ended[1]["sentence"]
    assert "expires on" in ended[2]["sentence"]
    model = service.frame(
        "SELECT sum(point) AS point FROM sales.current_forecasts WHERE store = 1 "
        "AND date BETWEEN '2015-06-15' AND '2015-06-20'"
    )["point"].iloc[0]
    assert ended[1]["sales"] == pytest.approx(0.1 * model)


def test_a_refresh_that_fails(service: Service) -> None:
    change(
        service,
        "INSERT INTO sales.changes (kind, stores, first_days, tries, error) "
        "VALUES ('plan', '{3}', '{2015-06-15}', 1, 'secret details')",
    )
    failed = sentences(service, "refresh_failed")
    assert set(failed) == {3}
    assert "secret" not in failed[3]["sentence"]


def test_pages_filters_files_and_etags(service: Service) -> None:
    change(
        service,
        "DELETE FROM sales.cleaned_sales WHERE store IN (2, 4, 6) AND date = '2015-06-11'",
    )
    whole = worklist(service, reason="missing_day")["items"]
    assert {item["store"] for item in whole} == {2, 4, 6}
    with service.client() as client:
        items, cursor = [], ""
        while cursor is not None:
            query = {"reason": "missing_day", "limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/worklist", params=query).raise_for_status().json()
            items += page["items"]
            cursor = page["next"]
        assert items == whole
        assert worklist(service, store=4)["items"][0]["store"] == 4
        body = client.get("/v1/worklist?reason=missing_day&format=csv").raise_for_status().content
        assert set(pd.read_csv(io.BytesIO(body))["store"]) == {2, 4, 6}
        first = client.get("/v1/worklist")
        known = {"If-None-Match": first.headers["etag"]}
        assert client.get("/v1/worklist", headers=known).status_code == 304
        change(service)
        assert client.get("/v1/worklist", headers=known).status_code == 200
        assert client.get("/v1/worklist?reason=weather").status_code == 422
        assert client.get("/v1/worklist?cursor=WyJ4Il0").status_code == 422


def test_a_retired_store_is_nobodys_work(service: Service) -> None:
    change(service, "DELETE FROM sales.cleaned_sales WHERE store = 4 AND date = '2015-06-10'")
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
        owner.execute("INSERT INTO sales.retired_stores (store) VALUES (4)")
    answer = worklist(service)
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
        owner.execute("DELETE FROM sales.retired_stores")
    assert answer["stores"] == STORES - 1
    assert 4 not in {item["store"] for item in answer["items"]}
