"""The demo's yardstick sees no later sales."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from local_stack.scores import score
from rossmann.sample_data import sample_files

END = date(2026, 6, 30)
ORIGIN = date(2026, 6, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    sample_files(stores=12, days=500, end=END).write(made)
    return made


def test_both_are_scored_on_the_same_days(folder: Path) -> None:
    scores = score(folder, ORIGIN, 14)
    assert 0.02 < scores.ours < scores.naive < 0.4
    train = pd.read_csv(folder / "train.csv")
    assert 0 < scores.days <= ((train["Date"] > "2026-06-16") & (train["Sales"] > 0)).sum()


def test_later_sales_do_not_change_the_forecast(folder: Path, tmp_path: Path) -> None:
    train = pd.read_csv(folder / "train.csv", dtype={"StateHoliday": str})
    later = (train["Date"] > str(ORIGIN)) & (train["Sales"] > 0)
    train.loc[later, "Sales"] *= 2
    for name in ("store.csv", "test.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    train.to_csv(tmp_path / "train.csv", index=False)
    before, after = score(folder, ORIGIN, 14), score(tmp_path, ORIGIN, 14)
    # Forecasts that stayed the same miss doubled sales by about half.
    assert 0.4 < after.ours < 0.6
    assert after.days == before.days
