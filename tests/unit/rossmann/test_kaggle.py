import gzip
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rossmann.kaggle import (
    BadRow,
    KaggleFilesError,
    read_files,
    read_stores,
    read_test,
    read_train,
)

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
    assert read_test(folder, with_ids=True)["id"].tolist() == [1]
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
        ("4202,487,1,1,0,0\n", "4202,4", "line 2: cut off, the last line has no end"),
        ("Customers", "Visitors", "the column Customers is missing; not needed are 'Visitors'"),
        ("1,5,2015-06-19", "1,4,2015-06-19", "line 2: DayOfWeek contradicts Date 2015-06-19"),
        ("2015-06-18", "2015-02-29", "line 3: Date is 2015-02-29; a day such as"),
        ("2015-06-18", "18.06.2015", "line 3: Date is 18.06.2015; a day such as"),
        ("4202", "many", "line 2: Sales is many; a whole number is expected"),
        ("4202", "4202.95", "line 2: Sales is 4202.95; a whole number is expected; round it"),
        ("4202", "4.000", "line 2: Sales is 4.000; a whole number without separators"),
        ("4202", "5.263", "line 2: Sales is 5.263; a whole number without separators"),
        ("4202", "1E+05", "line 2: Sales is 1E+05; a whole number is expected"),
        ("4202", "99999999999", "line 2: Sales is 99999999999; 0 to 2147483647 is expected"),
        ("4202", "-3", "line 2: Sales is -3; 0 to 2147483647 is expected"),
        ("4202", "", "line 2: Sales is missing"),
        ("4202", "[red]", "line 2: Sales is [red]; a whole number"),
        ("0,0,0,0,", "9,0,0,0,", "line 3: Sales on a day with Open 0"),
        ('"a"', '"z"', "line 3: StateHoliday is z; one of 0, a, b, c is expected"),
        ("2,4,2015", "1|2,4,2015", "line 3: Store is 1|2; a whole number is expected"),
        (",487", "", "line 2: 8 fields instead of 9"),
        ("Promo", "Open", "line 1: the column Open appears 2 times"),
        ('"a"', '"a', "a quoted field is never closed"),
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
    assert str(folder / "train.csv") in str(refused.value)


def test_sales_of_a_day_that_has_not_come_are_refused(folder: Path) -> None:
    later = datetime.now(UTC).date() + timedelta(days=2)
    row = f"1,{later.isoweekday()},{later},4202,487,1,1,0,0\n"
    (folder / "train.csv").write_text(TRAIN + row)
    with pytest.raises(KaggleFilesError, match=r"line 4.*sales of a day that has not come"):
        read_train(folder)


def test_a_day_that_appears_twice_is_read_once_or_refused(folder: Path) -> None:
    repeated = TRAIN + "1,5,2015-06-19,4202,487,1,1,0,0\n"
    (folder / "train.csv").write_text(repeated)
    assert len(read_train(folder)) == 2
    (folder / "train.csv").write_text(repeated + "1,5,2015-06-19,4203,487,1,1,0,0\n")
    with pytest.raises(KaggleFilesError, match="line 2: the store's day appears twice"):
        read_train(folder)
    skipped: list[BadRow] = []
    assert read_train(folder, skipped)["store"].tolist() == [2]
    assert [row.line for row in skipped] == [2, 5], "nothing says which of them is right"


def test_bad_rows_are_set_aside_with_their_lines(folder: Path) -> None:
    bad = "1,4,2015-06-18,-3,0,1,0,0,0\n\n1,3,2015-06-17,5\n3,3,2015-06-17,5,1,1,0,0,0\n"
    good = "1,2,2015-06-16,7,1,1,0,0,0\n"
    (folder / "train.csv").write_text(TRAIN + bad + good)
    files = read_files(folder, skip_bad=True)
    assert files.train["sales"].tolist() == [4202, 0, 7]
    assert [(row.line, row.reason) for row in files.skipped] == [
        (4, "Sales is -3; 0 to 2147483647 is expected"),
        (6, "4 fields instead of 9"),
        (7, "Store 3 is not in store.csv"),
    ]
    with pytest.raises(KaggleFilesError, match=r"line 4: .*; 1 other lines"):
        read_train(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="Windows"),
        pytest.param(lambda text: text.replace("\n", "\r"), id="old line ends"),
        pytest.param(lambda text: text.replace("\n", "\n\n"), id="blank lines"),
        pytest.param(lambda text: text + ",,,,,,,,\n", id="a line of commas"),
        pytest.param(lambda text: text.rstrip("\n"), id="no last line end"),
        pytest.param(lambda text: text.replace(",", ";"), id="semicolons"),
        pytest.param(lambda text: text.replace(",", "\t"), id="tabs"),
        pytest.param(lambda text: text.replace("4202", '"4202"'), id="quotes"),
        pytest.param(lambda text: text.replace("4202", "4202.0"), id="whole floats"),
        pytest.param(lambda text: text.replace("4202", " 4202 "), id="blanks"),
        pytest.param(lambda text: text.replace("19,", "19 00:00:00,"), id="midnight"),
        pytest.param(lambda text: text.replace("Store", "store"), id="lower case"),
        pytest.param(
            lambda text: "".join(
                f'"a, ""b""\n{n}",{line}\n' for n, line in enumerate(text.splitlines())
            ),
            id="another column, of several lines",
        ),
        pytest.param(
            lambda text: "".join(
                ",".join(reversed(line.split(","))) + "\n" for line in text.splitlines()
            ),
            id="another order",
        ),
    ],
)
def test_what_leaves_no_doubt_is_read(folder: Path, change: Callable[[str], str]) -> None:
    plain = read_train(folder)
    (folder / "train.csv").write_bytes(change(TRAIN).encode())
    assert read_train(folder).equals(plain)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_an_archive_with_any_damaged_byte_is_read_or_refused(folder: Path, method: int) -> None:
    plain = read_train(folder)
    (folder / "train.csv").unlink()
    path = folder / "train.csv.zip"
    with zipfile.ZipFile(path, "w", method) as package:
        package.writestr("größe/train.csv", TRAIN)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0x01, 0x80):
            path.write_bytes(bytes([*whole[:place], whole[place] ^ bit, *whole[place + 1 :]]))
            with suppress(KaggleFilesError):
                assert read_train(folder).equals(plain), place


def test_packed_as_zip_is_the_same(folder: Path) -> None:
    plain = read_train(folder)
    with zipfile.ZipFile(folder / "train.csv.zip", "w") as package:
        package.write(folder / "train.csv", "rossmann/train.csv")
    (folder / "train.csv").unlink()
    assert read_train(folder).equals(plain)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TRAIN.encode("utf-16"), "encoded in UTF-16; save it as CSV in UTF-8"),
        (TRAIN.encode().replace(b'"a"', b'"\xe4"'), "line 3: the byte 0xe4 is not UTF-8"),
        (TRAIN.encode().replace(b'"a"', b"\0"), "line 3: a NUL byte"),
        (b" \n", "empty"),
    ],
)
def test_what_is_no_text_is_refused(folder: Path, data: bytes, message: str) -> None:
    (folder / "train.csv").write_bytes(data)
    with pytest.raises(KaggleFilesError) as refused:
        read_train(folder)
    assert message in str(refused.value)


def test_a_folder_without_plans_is_read(folder: Path) -> None:
    (folder / "test.csv").unlink()
    files = read_files(folder)
    assert len(files.train) == 2 and files.test.empty
    with pytest.raises(KaggleFilesError, match=r"test\.csv: no such file"):
        read_test(folder, with_ids=True)


def test_only_a_submission_needs_ids(folder: Path) -> None:
    (folder / "test.csv").write_text(TEST.replace("Id,", "").replace("1,1,6", "1,6"))
    assert len(read_test(folder)) == 1
    with pytest.raises(KaggleFilesError, match="the column Id is missing"):
        read_test(folder, with_ids=True)


@pytest.mark.parametrize("store", ["1|2", "0", "-4", "", "x", "1.5"])
def test_a_store_that_cannot_be_a_partition_is_refused_with_its_row(
    folder: Path, store: str
) -> None:
    (folder / "store.csv").write_text(STORE.replace('2,"a"', f'{store},"a"'))
    with pytest.raises(KaggleFilesError, match="line 3: Store is"):
        read_stores(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1270", "far", "line 2: CompetitionDistance is far; a number such as"),
        ("2008", "20088", "line 2: CompetitionOpenSinceYear is 20088; 1 to 9999 is expected"),
        (",13,2010", ",99,2010", "line 3: Promo2SinceWeek is 99; 1 to 53 is expected"),
        ('"c"', '""', "line 2: StoreType is missing"),
        ("\n2,", "\n1,", "line 2: the store appears twice, with different values"),
    ],
)
def test_a_wrong_store_is_named(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "store.csv").write_text(STORE.replace(old, new, 1))
    with pytest.raises(KaggleFilesError) as refused:
        read_stores(folder)
    assert message in str(refused.value)


def test_a_missing_file_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(KaggleFilesError, match=r"train\.csv: no such file.*Kaggle"):
        read_train(tmp_path)
