"""What the producer writes, without a broker."""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from streaming_job import encoding, producer
from streaming_job.cli import app
from streaming_job.errors import InputError, RefusedError
from tests.unit.streaming_job.test_transform import GOOD


def test_a_frames_rows_are_written_as_json_of_the_same_rows() -> None:
    rows = [GOOD, GOOD | {"Store": 2, "StateHoliday": "a"}]
    pairs = list(encoding.encode_frame(pd.DataFrame(rows)))
    assert pairs == [encoding.encode(row) for row in rows]
    assert [json.loads(value) for _, value in pairs] == rows
    assert [key for key, _ in pairs] == [b"1", b"2"]


def test_missing_sales_customers_and_open_are_left_out() -> None:
    frame = pd.DataFrame([GOOD]).astype({"Sales": "float", "Customers": "Int64", "Open": "float"})
    frame.loc[0, ["Sales", "Open"]] = float("nan")
    frame.loc[0, "Customers"] = pd.NA
    ((_, value),) = encoding.encode_frame(frame)
    left = {key: GOOD[key] for key in GOOD if key not in ("Sales", "Customers", "Open")}
    assert json.loads(value) == left


def test_a_frame_without_a_column_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="Promo"):
        list(encoding.encode_frame(pd.DataFrame([GOOD]).drop(columns="Promo")))


# Each of these was sent as another number, cut off or rounded, or ended in a traceback.
CHANGED_ON_THE_WAY: list[tuple[str, Any]] = [
    ("Sales", 4202.95),
    ("Sales", "4202.95"),
    ("Sales", Decimal("4202.95")),
    ("Sales", "12.000"),
    ("Customers", 0.5),
    ("Sales", float("inf")),
    ("Sales", float(2**53)),
    ("Store", 1.5),
    ("Open", 0.9),
    ("DayOfWeek", "5,0"),
    ("Sales", "1_000"),
    ("Sales", "1e3"),
    ("Date", "2015-06-12T23:30:00"),
    ("Date", datetime(2015, 6, 12, 23, 30)),
    ("Date", "2015-06-123"),
    ("Date", "12.06.2015"),
    ("StateHoliday", 0.5),
]


@pytest.mark.parametrize(("field", "value"), CHANGED_ON_THE_WAY)
def test_what_cannot_be_sent_unchanged_is_refused_by_row_and_field(field: str, value: Any) -> None:
    rows = [GOOD, GOOD | {field: value}]
    with pytest.raises(RefusedError, match=f"{field} is"):
        encoding.encode(rows[1])
    with pytest.raises(RefusedError, match=f"row 1: {field} is"):
        list(encoding.encode_frame(pd.DataFrame(rows).astype({field: object})))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Sales", 5263.0),
        ("Sales", "5263"),
        ("Sales", "5263.00"),
        ("Sales", Decimal("5263")),
        ("Promo", True),
        ("Date", date(2015, 6, 12)),
        ("Date", datetime(2015, 6, 12)),
        ("Date", pd.Timestamp("2015-06-12")),
        ("Date", "2015-06-12 00:00:00"),
        ("StateHoliday", 0),
        ("StateHoliday", 0.0),
    ],
)
def test_the_same_value_in_another_type_is_sent_as_it_is(field: str, value: Any) -> None:
    assert encoding.encode(GOOD | {field: value}) == encoding.encode(GOOD)
    frame = pd.DataFrame([GOOD | {field: value}])
    assert list(encoding.encode_frame(frame)) == [encoding.encode(GOOD)]


@pytest.mark.parametrize("field", ["Store", "Promo", "StateHoliday", "Date"])
def test_a_missing_value_is_refused_where_none_may_be_missing(field: str) -> None:
    for missing in (None, float("nan"), pd.NA, pd.NaT):
        with pytest.raises(RefusedError, match=f"no {field}"):
            encoding.encode(GOOD | {field: missing})
        with pytest.raises(RefusedError, match=f"row 0 has no {field}"):
            list(encoding.encode_frame(pd.DataFrame([GOOD | {field: missing}])))


def test_a_files_number_is_sent_as_it_stands_there_or_refused_by_its_line(tmp_path: Path) -> None:
    header = ",".join(GOOD)
    lines = ["1,5,2015-06-12,5263,555,1,1,0,1", "", "2,5,2015-06-12,4202.95,,1,1,0,1"]
    path = tmp_path / "train.csv"
    path.write_text("\n".join([header, *lines, "3,6,2015-06-13,2147483647,1,1,1,0,1"]))
    with pytest.raises(InputError, match=r"train\.csv line 4: Sales is 4202\.95; a whole number"):
        producer.read_days(tmp_path, date(2015, 6, 12), date(2015, 6, 12))
    path.write_text("\n".join([header, lines[0], "3,6,2015-06-13,2147483647,1,1,1,0,1"]))
    rows = producer.read_days(tmp_path, date(2015, 6, 13), date(2015, 6, 13))
    ((_, value),) = encoding.encode_frame(rows)
    assert json.loads(value)["Sales"] == 2147483647


def test_days_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.csv: no such file"):
        producer.read_days(tmp_path, date(2015, 1, 1), date(2015, 1, 1))
    pd.DataFrame([GOOD]).to_csv(tmp_path / "train.csv.gz", index=False)
    with pytest.raises(InputError, match="2015-06-12"):
        producer.read_days(tmp_path, date(2015, 1, 1), date(2015, 1, 1))
    assert len(producer.read_days(tmp_path, date(2015, 6, 12), date(2015, 6, 12))) == 1


def test_a_folder_that_is_missing_is_wrong_usage_and_no_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "h:1")
    asked = ["produce", f"--data={tmp_path / 'none'}", "--date=2015-06-12"]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 2, ended.output
    assert "none" in ended.stderr
