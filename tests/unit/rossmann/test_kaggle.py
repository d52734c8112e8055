import gzip
from pathlib import Path

import pytest

from rossmann.kaggle import KaggleFilesError, read_stores, read_test, read_train

TRAIN = (
    "Store,DayOfWeek,Date,Sales,Customers,Open,Promo,StateHoliday,SchoolHoliday\n"
    "1,5,2015-06-19,4202,487,1,1,0,0\n"
    '2,4,2015-06-18,0,0,0,0,"a",1\n'
)
TEST = "Id,Store,DayOfWeek,Date,Open,Promo,StateHoliday,SchoolHoliday\n1,1,6,2015-06-20,,0,0,0\n"
STORE = (
    '"Store","StoreType","Assortment","CompetitionDistance","CompetitionOpenSinceMonth",'
    '"CompetitionOpenSinceYear","Promo2","Promo2SinceWeek","Promo2SinceYear","PromoInterval"\n'
    '1,"c","a",1270,9,2008,0,,,""\n'
    '2,"a","a",,,,1,13,2010,"Jan,Apr,Jul,Oct"\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    (tmp_path / "store.csv").write_text(STORE)
    return tmp_path


def test_reads_the_three_files(folder: Path) -> None:
    train = read_train(folder)
    assert train["sales"].tolist() == [4202, 0]
    assert train["state_holiday"].tolist() == ["0", "a"]
    test = read_test(folder)
    assert test["id"].tolist() == [1]
    assert test["open"].isna().all(), "Kaggle's own test.csv has days without Open"
    stores = read_stores(folder)
    assert stores["store"].tolist() == [1, 2]
    assert stores["promo2_since_week"].tolist()[1] == 13


def test_packed_files_are_the_same(folder: Path) -> None:
    plain = read_train(folder)
    (folder / "train.csv").unlink()
    with gzip.open(folder / "train.csv.gz", "wt") as file:
        file.write(TRAIN)
    assert read_train(folder).equals(plain)


def test_a_cut_off_package_is_refused(folder: Path) -> None:
    (folder / "train.csv").unlink()
    packed = gzip.compress(TRAIN.encode() * 50)
    (folder / "train.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(KaggleFilesError, match="cut off or damaged"):
        read_train(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4202,487,1,1,0,0\n", "4202,4", "cut off in its last line"),
        ("Customers", "Visitors", "the columns are Store, DayOfWeek, Date, Sales, Visitors"),
        ("1,5,2015-06-19", "1,4,2015-06-19", "line 2: DayOfWeek contradicts Date"),
        ("2015-06-18", "2015-02-29", "line 3: Date is not a day"),
        ("4202", "many", "line 2: Sales is 'many', not a number"),
        ("4202", "-3", "line 2: sales below zero"),
        ("0,0,0,0,", "9,0,0,0,", "line 3: sales on a day that is closed"),
        ('"a"', '"z"', "line 3: StateHoliday is unknown"),
        ("2,4,2015", "1|2,4,2015", "line 3: Store is '1|2', not a number"),
        (",487", "", "line 2"),
    ],
)
def test_a_wrong_row_is_named(folder: Path, old: str, new: str, message: str) -> None:
    text = TRAIN.replace(old, new, 1)
    if "cut off" in message:
        text = text[: text.index(new) + len(new)]
    (folder / "train.csv").write_text(text)
    with pytest.raises(KaggleFilesError) as refused:
        read_train(folder)
    assert message in str(refused.value)
    assert "train.csv" in str(refused.value)


def test_a_day_that_appears_twice_is_refused(folder: Path) -> None:
    (folder / "train.csv").write_text(TRAIN + "1,5,2015-06-19,4203,487,1,1,0,0\n")
    with pytest.raises(KaggleFilesError, match="line 4: a store's day appears twice"):
        read_train(folder)


@pytest.mark.parametrize("store", ["1|2", "0", "-4", "", "x", "1.5"])
def test_a_store_that_cannot_be_a_partition_is_refused_with_its_row(
    folder: Path, store: str
) -> None:
    (folder / "store.csv").write_text(STORE.replace('2,"a"', f'{store},"a"'))
    with pytest.raises(KaggleFilesError, match="line 3: Store is not a positive integer"):
        read_stores(folder)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(KaggleFilesError, match=r"train\.csv: no such file.*Kaggle"):
        read_train(tmp_path)
