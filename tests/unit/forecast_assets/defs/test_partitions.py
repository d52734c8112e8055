import re
from datetime import UTC, date, datetime

import pytest

from forecast_assets.defs.partitions import (
    date_partitions,
    parse_partition_keys,
    partition_key,
    partitions_warning,
    store_of,
    too_many,
)
from forecast_assets.settings import Settings


def made(**values: object) -> Settings:
    return Settings(
        **{str(Settings.model_fields[name].alias): value for name, value in values.items()}
    )


def test_the_running_month_is_a_partition() -> None:
    today = datetime.now(UTC).date()
    keys = date_partitions(made(calendar_start=date(2024, 1, 17))).get_partition_keys()
    assert keys[0] == "2024-01-01", "the month that the calendar begins in is whole"
    assert keys[-1] == str(today.replace(day=1))


def test_a_bounded_calendar_ends_with_its_last_month() -> None:
    bounded = made(calendar_start=date(2013, 1, 1), calendar_end=date(2015, 7, 31))
    keys = date_partitions(bounded).get_partition_keys()
    assert (len(keys), keys[0], keys[-1]) == (31, "2013-01-01", "2015-07-01")


def test_partitions_that_somebody_made_by_hand_name_no_store() -> None:
    cells, foreign = parse_partition_keys(
        ["2015-06-01|7", "2015-06-01|7|8", "2015-06-01|99999999999999999999", "2015-06-01|-5"]
    )
    assert cells == {date(2015, 6, 1): [7]}
    assert foreign == ["-5", "7|8", "99999999999999999999"]


@pytest.mark.parametrize(
    ("grain", "first", "last"),
    [("weekly", "2015-06-01", "2015-06-29"), ("daily", "2015-06-03", "2015-06-30")],
)
def test_finer_grains_begin_on_monday_or_on_the_day(grain: str, first: str, last: str) -> None:
    chosen = made(calendar_start=date(2015, 6, 3), calendar_end=date(2015, 6, 30), date_grain=grain)
    keys = date_partitions(chosen).get_partition_keys()
    assert (keys[0], keys[-1]) == (first, last)


def test_too_many_partitions_are_refused_with_the_numbers() -> None:
    daily = made(
        calendar_start=date(2013, 1, 1), calendar_end=date(2015, 7, 31), date_grain="daily"
    )
    problem = too_many(1115, daily, date(2026, 1, 1))
    assert problem is not None and re.search("942 daily periods.*1,050,330 partitions", problem)
    monthly = made(calendar_start=date(2013, 1, 1), calendar_end=date(2015, 7, 31))
    assert too_many(1115, monthly, date(2026, 1, 1)) is None


def test_keys_and_cells_are_inverse() -> None:
    keys = [partition_key(date(2015, month, 1), store) for month in (5, 6) for store in (7, 30)]
    assert keys[0] == "2015-05-01|7"
    cells = {date(2015, 5, 1): [7, 30], date(2015, 6, 1): [7, 30]}
    assert parse_partition_keys(keys) == (cells, [])


def test_keys_that_somebody_added_by_hand_name_no_store() -> None:
    by_hand = ["store_12", "007", "", " 7", "7.0", "１２", "1e3", "--3"]
    assert [store_of(key) for key in by_hand] == [None] * len(by_hand)
    cells, foreign = parse_partition_keys(["2015-05-01|7", *(f"2015-05-01|{k}" for k in by_hand)])
    assert cells == {date(2015, 5, 1): [7]}
    assert foreign == sorted(by_hand)


def test_a_running_stack_is_warned_months_before_there_are_too_many_partitions() -> None:
    settings = made(calendar_start=date(2019, 6, 1))
    assert partitions_warning(1110, settings, date(2026, 5, 1)) is None
    for day in (date(2026, 7, 1), date(2026, 12, 1), date(2036, 1, 1)):
        warning = partitions_warning(1110, settings, day)
        assert warning is not None and "Refreshes go on" in warning
