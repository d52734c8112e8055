"""Totals over HTTP, from real forecasts: they add up where they can, and only there."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet
import pytest

from tests.support.chain import STORES
from tests.support.service import Service


def totals(service: Service, **query: Any) -> pd.DataFrame:
    with service.client() as client:
        answer = client.get("/v1/totals", params=query).raise_for_status().json()
    assert answer["next"] is None
    return pd.DataFrame(answer["items"])


def test_the_chains_mean_is_the_sum_of_its_stores_and_its_interval_is_narrower(
    service: Service,
) -> None:
    chain = totals(service).set_index("first_day")
    stores = totals(service, level="store").groupby("first_day")
    assert chain["days"].tolist() == stores["days"].sum().tolist()
    # Each store's mean is stored as a double: only the order of additions differs.
    assert chain["mean"].tolist() == pytest.approx(stores["mean"].sum().tolist(), rel=1e-9)
    for level in ("store_type", "assortment"):
        groups = totals(service, level=level).groupby("first_day")
        assert chain["mean"].tolist() == pytest.approx(groups["mean"].sum().tolist(), rel=1e-9)
    # Six stores err in part independently, so their errors partly cancel in the sum.
    for low, high in (("q0_1", "q0_9"), ("q0_025", "q0_975")):
        summed = stores[high].sum() - stores[low].sum()
        width = chain[high] - chain[low]
        assert width[0] == summed.iloc[0] == 0, "on this Sunday all stores are closed"
        assert (width[1:] > 0).all()
        assert (width[1:] < 0.9 * summed[1:]).all()
    with service.client() as client:
        days = pd.DataFrame(client.get("/v1/forecasts").json()["items"])
    by_day = totals(service, grain="day").set_index("first_day")["mean"]
    assert by_day.tolist() == pytest.approx(days.groupby("date")["mean"].sum().tolist(), rel=1e-9)
    assert chain["mean"].sum() == pytest.approx(by_day.sum(), rel=1e-9)


def test_totals_in_force_are_those_of_the_view(service: Service) -> None:
    stored = service.frame("SELECT * FROM sales.current_totals")
    for level in ("chain", "store_type", "assortment", "store"):
        for grain in ("week",) if level == "store" else ("day", "week"):
            wanted = stored[(stored["level"] == level) & (stored["grain"] == grain)]
            read = totals(service, level=level, grain=grain)
            for name in ("origin", "first_day", "last_day"):
                read[name] = pd.to_datetime(read[name]).dt.date
            pd.testing.assert_frame_equal(
                read,
                wanted.sort_values(["member", "first_day"], ignore_index=True)[read.columns],
                check_dtype=False,
            )


def test_totals_page_by_page_and_as_files(service: Service) -> None:
    query: dict[str, Any] = {"level": "store", "limit": 5}
    whole = totals(service, level="store")
    with service.client() as client:
        rows, cursor = [], ""
        while cursor is not None:
            page = client.get("/v1/totals", params=query | ({"cursor": cursor} if cursor else {}))
            rows += page.raise_for_status().json()["items"]
            cursor = page.json()["next"]
        assert pd.DataFrame(rows).equals(whole)
        parquet = client.get("/v1/totals?level=store&format=parquet").raise_for_status()
        assert parquet.headers["content-disposition"].endswith('"totals.parquet"')
        table = pyarrow.parquet.read_table(io.BytesIO(parquet.content))
        csv = client.get("/v1/totals?level=store&format=csv").raise_for_status().content
    for frame in (table.to_pandas(), pd.read_csv(io.BytesIO(csv))):
        assert frame["q0_9"].tolist() == pytest.approx(whole["q0_9"].tolist())


def test_totals_of_some_members_and_days(service: Service) -> None:
    two = totals(service, level="store", member=["2", "3"], **{"from": "2015-06-17",
                                                               "to": "2015-06-22"})  # fmt: skip
    assert two[["member", "first_day", "last_day"]].to_numpy().tolist() == [
        [store, *week]
        for store in ("2", "3")
        for week in (("2015-06-15", "2015-06-21"), ("2015-06-22", "2015-06-28"))
    ]
    earlier = totals(service, as_of="2015-06-12")
    assert set(earlier["origin"]) == {"2015-06-12"}
    assert set(totals(service)["origin"]) == {"2015-06-13"}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("level=store&grain=day", 422, "/v1/forecasts"),
        ("level=store_type&member=zz", 404, "no such store type: zz; there are a"),
        ("level=store&member=99", 404, "there are 1, 2"),
        ("from=2016-01-01", 404, "cover 2015-06-14 to 2015-07-25"),
        ("as_of=2015-06-01", 404, "no total from 2015-06-01"),
        ("cursor=WzEsIjIwMTUtMDYtMTMiXQ", 422, "query.cursor"),
        ("level=region", 422, "query.level"),
    ],
)
def test_what_totals_lack_is_said(service: Service, query: str, status: int, said: str) -> None:
    with service.client() as client:
        answer = client.get(f"/v1/totals?{query}")
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_unchanged_totals_are_304(service: Service) -> None:
    with service.client() as client:
        first = client.get("/v1/totals")
        known = {"If-None-Match": first.headers["etag"]}
        assert client.get("/v1/totals", headers=known).status_code == 304
        assert client.get("/v1/totals?grain=day", headers=known).status_code == 200
        then = client.get("/v1/totals?as_of=2015-06-12")
        same = {"If-None-Match": then.headers["etag"]}
        assert client.get("/v1/totals?as_of=2015-06-12", headers=same).status_code == 304
        with psycopg.connect(service.urls["FORECAST_DATABASE_URL"]) as connection:
            connection.execute(
                "INSERT INTO sales.refreshes (refresh_id, finished_at, changes, stores, offsets) "
                "VALUES ('another', clock_timestamp(), 0, 0, '[]')"
            )
        assert client.get("/v1/totals", headers=known).status_code == 200


def test_a_refresh_of_one_store_renews_its_weeks_and_the_chains(service: Service) -> None:
    assert len(totals(service, level="store").groupby("member")) == STORES
    with psycopg.connect(service.urls["FORECAST_DATABASE_URL"]) as connection:
        connection.execute(
            "INSERT INTO sales.forecast_totals SELECT (t).* FROM (SELECT jsonb_populate_record("
            "c, jsonb_build_object('refresh_id', 'later', 'mean', 1, 'written_at', "
            "clock_timestamp())) AS t FROM sales.current_totals c WHERE c.member = '4') AS made"
        )
    weeks = totals(service, level="store")
    assert set(weeks.loc[weeks["mean"] == 1, "member"]) == {"4"}
    assert set(weeks.loc[weeks["member"] == "4", "refresh_id"]) == {"later"}
    assert weeks["first_day"].max() >= str(date(2015, 7, 20))
