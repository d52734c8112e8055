"""What the producer writes, without a broker."""

import json

import pandas as pd
import pytest

from streaming_job import producer
from streaming_job.errors import RefusedError, SettingsError
from tests.unit.streaming_job.test_transform import GOOD


def test_a_frames_rows_are_written_as_json_of_the_same_rows() -> None:
    rows = [GOOD, GOOD | {"Store": 2, "StateHoliday": "a"}]
    pairs = list(producer._encode_frame(pd.DataFrame(rows)))
    assert pairs == [producer.encode(row) for row in rows]
    assert [json.loads(value) for _, value in pairs] == rows
    assert [key for key, _ in pairs] == [b"1", b"2"]


def test_missing_sales_customers_and_open_are_left_out() -> None:
    frame = pd.DataFrame([GOOD]).astype({"Sales": "float", "Customers": "Int64", "Open": "float"})
    frame.loc[0, ["Sales", "Open"]] = float("nan")
    frame.loc[0, "Customers"] = pd.NA
    ((_, value),) = producer._encode_frame(frame)
    left = {key: GOOD[key] for key in GOOD if key not in ("Sales", "Customers", "Open")}
    assert json.loads(value) == left


def test_a_frame_without_a_column_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="Promo"):
        list(producer._encode_frame(pd.DataFrame([GOOD]).drop(columns="Promo")))


def test_days_that_are_not_there_are_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from datetime import date

    with pytest.raises(SettingsError, match=r"train\.csv: no such file"):
        producer.read_days(tmp_path, date(2015, 1, 1), date(2015, 1, 1))
    pd.DataFrame([GOOD]).to_csv(tmp_path / "train.csv.gz", index=False)
    with pytest.raises(SettingsError, match="2015-06-12"):
        producer.read_days(tmp_path, date(2015, 1, 1), date(2015, 1, 1))
    assert len(producer.read_days(tmp_path, date(2015, 6, 12), date(2015, 6, 12))) == 1
