"""Cursors, files, ETags, tokens, jobs: the parts that need no application."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import anyio
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from forecast_service import formats, pages, tokens
from forecast_service.dagster import Run
from forecast_service.jobs import JobStatus
from forecast_service.newest import Answer, Answers
from forecast_service.problems import ServiceError
from forecast_service.runs.service import LOST_AFTER, period_of, status_of
from forecast_service.scenarios import plans
from forecast_service.worklist.service import FILE_SCHEMA
from streaming_job import strict
from streaming_job.encoding import encode_frame
from warehouse.errors import NotFoundError
from warehouse.service import reading

NOW = datetime(2015, 6, 19, 12, tzinfo=UTC)


def test_a_cursor_holds_the_last_key() -> None:
    assert pages.decode_day(pages.encode_cursor(7, date(2015, 6, 19))) == (7, date(2015, 6, 19))
    assert pages.decode_store(pages.encode_cursor(7)) == 7
    assert pages.decode_store(None) == 0
    week = ("a", date(2015, 6, 15))
    assert pages.decode_member(pages.encode_key(*week)) == week


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_csv_runs_no_formula(text: str) -> None:
    table = pa.table({"store": [-1, 2], "note": [text, "plain"]})
    body = formats.file_bytes(table, formats.Format.CSV)
    read = pd.read_csv(io.BytesIO(body))
    assert read["note"].tolist() == [f"'{text}", "plain"]
    assert read["store"].tolist() == [-1, 2], "numbers stay numbers"


def test_files_hold_the_same_rows() -> None:
    table = pa.table({"store": [1, 2], "note": ["=1", None]})
    parquet = pyarrow.parquet.read_table(
        io.BytesIO(formats.file_bytes(table, formats.Format.PARQUET))
    )
    arrow = pa.ipc.open_stream(formats.file_bytes(table, formats.Format.ARROW)).read_all()
    assert parquet == arrow == table


def test_a_workbook_has_dates_as_dates_and_runs_no_formula() -> None:
    table = pa.table(
        {"date": [date(2015, 6, 19), None], "point": [4321.5, float("nan")], "note": ["=1+2", None]}
    )
    body = formats.file_bytes(table, formats.Format.EXCEL)
    workbook = openpyxl.load_workbook(io.BytesIO(body))
    rows = list(workbook.active.values)
    assert workbook.sheetnames == ["Forecasts"]
    assert workbook.active["A2"].number_format == "yyyy-mm-dd"
    assert workbook.active["B2"].number_format == "#,##0"
    assert workbook.active["C2"].number_format == "General"
    assert rows[0] == ("date", "point", "note")
    assert rows[1] == (datetime(2015, 6, 19), 4321.5, "=1+2")
    sheet = zipfile.ZipFile(io.BytesIO(body)).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>=1+2" not in sheet and "<f>1+2" not in sheet
    assert rows[2][0] is None and rows[2][2] is None


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (reading.FORECAST_COLUMNS, "Forecasts"),
        (formats.NIXTLA_COLUMNS.values(), "Forecasts"),
        (reading.HISTORY_COLUMNS, "Sales"),
        (("level", "member", "mean"), "Totals"),
        (FILE_SCHEMA.names, "Worklist"),
        (("x",), "Data"),
    ],
)
def test_a_workbooks_sheet_is_named_after_what_it_holds(columns: Iterable[str], name: str) -> None:
    table = pa.table({column: [1] for column in columns})
    body = formats.file_bytes(table, formats.Format.EXCEL)
    assert openpyxl.load_workbook(io.BytesIO(body)).sheetnames == [name]


def test_a_workbook_that_would_take_too_long_is_refused() -> None:
    table = pa.table({"store": range(formats.MAX_WORKBOOK_ROWS + 1)})
    with pytest.raises(ServiceError, match="too many for Excel"):
        formats.file_bytes(table, formats.Format.EXCEL)


def test_answers_asked_for_longest_ago_make_room() -> None:
    answers = Answers(max_bytes=10)
    for query in ("a", "b", "c"):
        answers.put(query, Answer("1", b"four"))
        assert answers.get("a") or query == "c"
        answers.get("a")
    assert [answers.get(query) is not None for query in "abc"] == [True, False, True]
    answers.put("a", Answer("2", b"four"))
    assert answers.get("a") == Answer("2", b"four")
    assert answers.get("c") == Answer("1", b"four"), "a newer version takes the older one's room"
    answers.put("d", Answer("1", b"too long for it"))
    assert [answers.get(query) for query in "acd"] == [None] * 3


def test_an_etag_depends_on_its_parts() -> None:
    assert formats.etag_of("a", 1) == formats.etag_of("a", 1) != formats.etag_of("a", 2)


def test_valid_tokens_are_remembered_and_others_are_not() -> None:
    asked: list[bytes] = []

    async def look_up(statement: str, parameters: Any) -> dict[str, Any] | None:
        asked.append(parameters[0])
        return {"name": "a", "scopes": ["read"]} if len(asked) == 2 else None

    known = tokens.Tokens(look_up)
    token = tokens.new_token()

    async def use() -> None:
        assert await known.client(token) is None
        client = await known.client(token)
        assert client is not None
        assert client.scopes == {"read"}
        assert await known.client(token) == client

    anyio.run(use)
    assert asked == [tokens.digest_of(token)] * 2
    assert len(token) >= 43
    assert token.encode() not in asked


@pytest.mark.parametrize(
    ("status", "age", "expected"),
    [
        ("QUEUED", timedelta(days=2), JobStatus.QUEUED),
        ("STARTED", timedelta(minutes=5), JobStatus.RUNNING),
        ("STARTED", LOST_AFTER + timedelta(minutes=1), JobStatus.LOST),
        ("CANCELING", timedelta(minutes=5), JobStatus.RUNNING),
        ("FAILURE", timedelta(0), JobStatus.FAILED),
        ("CANCELED", timedelta(0), JobStatus.CANCELLED),
        ("SUCCESS", timedelta(0), JobStatus.SUCCEEDED),
    ],
)
def test_a_job_says_how_it_ended(status: str, age: timedelta, expected: JobStatus) -> None:
    run = Run("id", "train", status, NOW - age, NOW - age, None, {})
    assert status_of(run, NOW) is expected


def test_a_partition_begins_with_its_period() -> None:
    day = date(2015, 6, 19)
    assert period_of(day, "monthly") == date(2015, 6, 1)
    assert period_of(day, "weekly") == date(2015, 6, 15)
    assert period_of(day, "daily") == day


def test_a_plans_job_holds_what_was_sent() -> None:
    rows = pd.DataFrame({"store": [2, 1], "date": pd.to_datetime(["2015-06-20", "2015-06-22"])})
    job = plans.decode(plans.encode(rows, NOW))
    assert job == {
        "stores": [1, 2],
        "first": date(2015, 6, 20),
        "last": date(2015, 6, 22),
        "days": 2,
        "sent_at": NOW,
    }
    assert plans.decode(plans.encode(rows.iloc[:0], NOW))["days"] == 0


@pytest.mark.parametrize("job_id", ["plan-", "plan-x", "plan-bnVsbA", "plan-W10", "plan-_w"])
def test_a_foreign_job_is_not_found(job_id: str) -> None:
    with pytest.raises(NotFoundError):
        plans.decode(job_id)


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"stored": 1}, JobStatus.QUEUED),
        ({"stored": 2, "open_changes": 1}, JobStatus.REFRESHING),
        ({"stored": 2}, JobStatus.SUCCEEDED),
        ({"stored": 1, "quarantined": "impossible_date"}, JobStatus.FAILED),
    ],
)
def test_a_plan_is_followed_to_its_end(row: dict[str, Any], status: JobStatus) -> None:
    whole = {"stored": 0, "quarantined": None, "open_changes": 0, "error": None} | row
    assert plans.progress(whole, 2, NOW, NOW)[0] is status


def test_a_plan_becomes_events_that_the_stream_takes_for_plans() -> None:
    rows = pd.DataFrame(
        {
            "store": [7],
            "date": pd.to_datetime(["2015-06-20"]),
            "day_of_week": [6],
            "open": [0],
            "promo": [1],
            "state_holiday": ["a"],
            "school_holiday": [0],
        }
    )
    ((key, value),) = encode_frame(plans.events_of(rows))
    assert key == b"7"
    taken = strict.parse_row(value)
    assert (taken["store"], taken["date"], taken["open"]) == (7, date(2015, 6, 20), 0)
    assert taken["sales"] is None
