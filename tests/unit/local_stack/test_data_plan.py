"""Which days are history, which are live, and what is refused."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from local_stack.data_plan import SAMPLE_LIVE_DAYS, plan_of_files, plan_of_sample
from local_stack.errors import StackError
from rossmann.sample_data import sample_files

END = date(2015, 6, 19)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample_files(stores=3, days=100, end=END).write(tmp_path)
    return tmp_path


def test_the_last_week_is_live(folder: Path) -> None:
    plan = plan_of_files(folder)
    assert plan.history_until == date(2015, 6, 12)
    assert plan.live_days == [date(2015, 6, day) for day in range(13, 20)]
    assert plan.last_day == END
    assert len(plan.rows_of(END)) == 3
    assert plan.stores == 3


def test_the_calendar_covers_whole_months_up_to_the_plans_end(folder: Path) -> None:
    plan = plan_of_files(folder)
    # 42 planned days after 19 June end on 31 July; the first sales are of 12 March.
    assert plan.calendar == (date(2015, 3, 1), date(2015, 7, 31))


def test_live_rows_are_events_of_the_data_sets_own_fields(folder: Path) -> None:
    rows = plan_of_files(folder).live
    assert {"Store", "DayOfWeek", "Date", "Sales", "StateHoliday"} <= set(rows.columns)
    assert rows["Date"].iloc[0] == "2015-06-19"


def test_all_days_can_be_history(folder: Path) -> None:
    plan = plan_of_files(folder, live_days=0)
    assert plan.history_until == END and plan.live_days == [] and plan.last_day == END


def test_sample_data_ends_today_and_leaves_the_calendar_open(tmp_path: Path) -> None:
    plan = plan_of_sample(tmp_path)
    today = datetime.now(UTC).date()
    assert today - plan.last_day <= timedelta(days=1)
    assert len(plan.live_days) == SAMPLE_LIVE_DAYS
    assert plan.calendar[1] is None


def refusal(folder: Path) -> str:
    with pytest.raises(StackError) as refused:
        plan_of_files(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_missing_folder_or_file_is_named(folder: Path) -> None:
    assert "not a folder" in refusal(folder / "absent")
    (folder / "train.csv").unlink()
    assert "train.csv" in refusal(folder)


def test_a_truncated_file_is_named(folder: Path) -> None:
    whole = gzip.compress((folder / "train.csv").read_bytes())
    (folder / "train.csv").unlink()
    (folder / "train.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "cut off" in refusal(folder)


def test_other_columns_are_named(folder: Path) -> None:
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text.replace("Promo", "Discount", 1))
    assert "Discount" in refusal(folder)


def test_too_short_a_history_is_refused(tmp_path: Path) -> None:
    sample_files(stores=2, days=30, end=END).write(tmp_path)
    assert "60 days of history" in refusal(tmp_path)
