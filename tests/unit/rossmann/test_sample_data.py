"""The made-up data has the shape, the columns and the oddities of the real files."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from dateutil.easter import easter

from rossmann import kaggle
from rossmann.sample_data import (
    REFURBISHMENT_DAYS,
    TEST_DAYS,
    SampleFiles,
    sample_files,
)

END = date(2026, 11, 20)


@pytest.fixture(scope="module")
def files() -> SampleFiles:
    return sample_files(stores=60, days=800, end=END, seed=3)


def test_the_project_reads_what_is_written(files: SampleFiles, tmp_path: Path) -> None:
    files.write(tmp_path)
    train = kaggle.read_train(tmp_path)
    assert train["date"].max() == pd.Timestamp(END)
    assert train["store"].nunique() == 60
    test = kaggle.read_test(tmp_path)
    assert test["date"].nunique() == TEST_DAYS
    assert test["date"].min() == pd.Timestamp(2026, 11, 21)
    assert len(kaggle.read_stores(tmp_path)) == 60
    assert not list(tmp_path.glob("*.unfinished"))


def test_the_same_seed_gives_the_same_files(files: SampleFiles) -> None:
    again = sample_files(stores=60, days=800, end=END, seed=3)
    pd.testing.assert_frame_equal(files.train, again.train)
    pd.testing.assert_frame_equal(files.store, again.store)
    other = sample_files(stores=60, days=800, end=END, seed=4)
    assert not files.train["Sales"].equals(other.train["Sales"])


def test_closed_days_have_no_sales(files: SampleFiles) -> None:
    closed = files.train[files.train["Open"] == 0]
    assert (closed["Sales"] == 0).all() and (closed["Customers"] == 0).all()
    assert 0.12 < len(closed) / len(files.train) < 0.22


def test_most_stores_rest_on_sundays(files: SampleFiles) -> None:
    sundays = files.train[files.train["DayOfWeek"] == 7]
    assert sundays["Open"].mean() < 0.15


def test_promos_lift_sales_and_repeat_every_fortnight(files: SampleFiles) -> None:
    opened = files.train[files.train["Sales"] > 0]
    lift = (
        opened[opened["Promo"] == 1]["Sales"].mean() / opened[opened["Promo"] == 0]["Sales"].mean()
    )
    assert 1.2 < lift < 1.8
    promo = files.train.drop_duplicates("Date").set_index("Date")["Promo"].sort_index()
    assert (promo.to_numpy()[14:] == promo.to_numpy()[:-14]).all()
    assert not files.train.loc[files.train["DayOfWeek"] >= 6, "Promo"].any()


def test_refurbished_stores_lack_half_a_year(files: SampleFiles) -> None:
    rows = files.train.groupby("Store").size()
    assert set(rows) == {800, 800 - REFURBISHMENT_DAYS}


def test_one_store_has_planned_days_without_open(files: SampleFiles) -> None:
    missing = files.test[files.test["Open"].isna()]
    assert len(missing) == 11 and missing["Store"].nunique() == 1


def test_every_day_has_its_known_holiday_code(files: SampleFiles) -> None:
    assert set(files.train["StateHoliday"]) == {"0", "a", "b", "c"}
    christmas = files.train[files.train["Date"] == "2025-12-25"]
    assert (christmas["StateHoliday"] == "c").all()


@pytest.mark.parametrize(
    ("year", "expected"),
    [(2013, date(2013, 3, 31)), (2015, date(2015, 4, 5)), (2026, date(2026, 4, 5))],
)
def test_easter(year: int, expected: date) -> None:
    assert easter(year) == expected


@pytest.mark.parametrize(("stores", "days"), [(0, 100), (5, 13)])
def test_too_little_is_refused(stores: int, days: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        sample_files(stores, days, END)


def test_one_store_and_a_fortnight_are_enough() -> None:
    files = sample_files(1, 14, END)
    assert set(files.train["Store"]) == {1}
