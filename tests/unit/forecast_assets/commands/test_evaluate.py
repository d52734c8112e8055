"""Evaluation and submission from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from forecast_assets.commands import evaluate, files, submission, weekly_totals, windows
from rossmann.kaggle import TRAIN_COLUMNS
from tests.unit.forecasting.conftest import make_days

TITLES = {
    "store": "Store",
    "day_of_week": "DayOfWeek",
    "date": "Date",
    "sales": "Sales",
    "customers": "Customers",
    "open": "Open",
    "promo": "Promo",
    "state_holiday": "StateHoliday",
    "school_holiday": "SchoolHoliday",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kaggle's files of a small chain: 14 months of sales, then 21 planned days."""
    path = tmp_path_factory.mktemp("kaggle")
    days = make_days(stores=6, n_days=420).rename(columns=TITLES)
    days = days[list(TRAIN_COLUMNS)]
    days["Date"] = days["Date"].dt.strftime("%Y-%m-%d")
    whole = days.astype({"Sales": int, "Customers": int})
    cut = sorted(whole["Date"].unique())[-21]
    whole[whole["Date"] < cut].to_csv(path / "train.csv", index=False)
    test = whole[whole["Date"] >= cut].drop(columns=["Sales", "Customers"])
    test = test[test["Store"] != 4].reset_index(drop=True)
    test["Open"] = test["Open"].astype(float)
    test.loc[0, "Open"] = np.nan
    test.insert(0, "Id", np.arange(1, len(test) + 1))
    test.to_csv(path / "test.csv", index=False)
    return path


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    evaluate.register(made)
    submission.register(made)
    return made


def test_evaluate_writes_forecasts_and_prints_scores(
    app: typer.Typer, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "forecasts.parquet"
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", "--data", str(folder), "--recipe", "ridge", "--horizon", "14"),
            *("--step", "14", "--windows", "2", "--stores", "1,2", "--output", str(output)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "RMSPE" in result.output
    assert f"forecasts written to {output}\n" in result.output, "no line break cuts a path"
    assert "…" not in result.output
    out = pd.read_parquet(output)
    assert {"store", "origin", "date", "point", "q0.025", "q0.1", "q0.9", "actual"} <= set(out)
    assert len(out) == 2 * 2 * 14
    assert out["origin"].nunique() == 2
    assert out["actual"].notna().all()


def test_evaluate_looks_past_the_known_days(app: typer.Typer, folder: Path) -> None:
    days = files.read_days(folder)
    last = days.loc[days["sales"].notna(), "date"].max()
    window = windows.Window(last - pd.Timedelta(days=4), 14)
    out = evaluate.forecast_window(days, window, recipe="ridge")
    known = out["date"] <= last
    assert out.loc[known, "actual"].notna().all() and out.loc[~known, "actual"].isna().all()
    # Store 4 has no plan after the last known day: the usual pattern is assumed and said.
    assert set(out.loc[out["plan_assumed"], "store"]) == {4}
    score = windows.score_window(windows.add_naive(out, days, window), days, window)
    assert score["rmspe"] < 0.2 and score["rmspe"] < score["naive_rmspe"]


def test_a_window_does_not_see_later_sales(folder: Path) -> None:
    days = files.read_days(folder)
    window = windows.Window(pd.Timestamp("2015-01-02"), 14)
    corrupt = days.copy()
    later = corrupt["date"] > window.origin
    corrupt.loc[later, ["sales", "customers"]] *= 7.0
    ours = evaluate.forecast_window(days, window, recipe="ridge").drop(columns="actual")
    theirs = evaluate.forecast_window(corrupt, window, recipe="ridge").drop(columns="actual")
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--windows", "99"], "ask for fewer"),
        (["--windows", "200000", "--step", "1"], "ask for fewer"),
        (["--step", "10000000"], "leaves room for 1 windows"),
        (["--end", "0001-01-01"], "choose a later end"),
        (["--end", "9999-12-31"], "choose an earlier end"),
        (["--stores", "one"], "no comma-separated list"),
        (["--stores", "77"], "no sales of store 77"),
        (["--recipe", "magic"], "neither ridge nor stack"),
        (["--totals", "daily"], "is not weekly"),
    ],
)
def test_bad_arguments_say_what_is_wrong(
    app: typer.Typer, folder: Path, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", str(folder), *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_submission_answers_every_row(app: typer.Typer, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    arguments = ["submission", "--data", str(folder), "--recipe", "ridge", "--output", str(output)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    out, test = pd.read_csv(output), pd.read_csv(folder / "test.csv")
    assert list(out.columns) == ["Id", "Sales"]
    assert out["Id"].tolist() == test["Id"].tolist()
    closed = test["Open"] == 0
    assert (out.loc[closed, "Sales"] == 0).all() and (out.loc[~closed, "Sales"] > 0).all()
    result = CliRunner().invoke(app, [*arguments, "--full"])
    assert result.exit_code == 0, result.output
    assert {"q0.025", "q0.5", "mean", "store", "date"} <= set(pd.read_csv(output))


def test_weekly_totals_are_written_and_scored(
    app: typer.Typer, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "totals.parquet"
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", "--data", str(folder), "--recipe", "ridge", "--horizon", "28"),
            *("--step", "28", "--windows", "1", "--end", "2015-02-01", "--totals", "weekly"),
            *("--output", str(output)),
        ],
    )
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in ("WAPE", "WQL", "MASE", "SQL"))
    out = pd.read_parquet(output)
    deciles = [f"q{k / 10:g}" for k in range(1, 10)]
    assert list(out.columns) == ["store", "origin", "week", "point", *deciles, "actual"]
    assert len(out) == 6 * 4 and (out["origin"] == pd.Timestamp("2015-01-04")).all()
    assert (out["origin"].dt.dayofweek == 6).all() and (out["week"].dt.dayofweek == 6).all()
    days = files.read_days(folder)
    week = days["date"].between("2015-01-05", "2015-01-11") & (days["store"] == 1)
    row = out[(out["store"] == 1) & (out["week"] == "2015-01-11")].iloc[0]
    assert row["actual"] == days.loc[week, "sales"].sum()
    assert row["q0.1"] < row["point"] == row["q0.5"] < row["q0.9"]
    assert ((out["actual"] >= out["q0.1"]) & (out["actual"] <= out["q0.9"])).mean() > 0.5


def test_a_week_without_rows_counts_as_planned_closed(folder: Path) -> None:
    days = files.read_days(folder)
    origin = pd.Timestamp("2015-01-04")
    gap = (days["store"] == 2) & (days["date"] > origin)
    filled = weekly_totals.close_missing_days(days[~gap], origin, 14)
    mine = filled[(filled["store"] == 2) & (filled["date"] > origin)]
    assert len(mine) == 14 and (mine["open"] == 0).all() and (mine["sales"] == 0).all()
    window = windows.Window(origin, 14)
    dependence, out = evaluate.forecast_jointly(
        filled, window, stores=None, recipe="ridge", threads=1
    )
    weeks = weekly_totals.week_totals(out, dependence, origin)
    closed = weeks[weeks["store"] == 2]
    assert len(closed) == 2 and (closed[["q0_1", "q0_9", "actual"]] == 0).all().all()
    scores = weekly_totals.score_weeks(weeks, days[~gap], origin)
    assert scores["wape"] < 0.2 and np.isfinite(scores["mase"])


def test_the_weekly_scale_is_that_of_successive_complete_weeks() -> None:
    dates = pd.date_range("2014-01-01", "2014-02-02")
    days = pd.DataFrame({"store": 1, "date": dates, "sales": 1.0})
    week = weekly_totals.week_ends(days["date"])
    days["sales"] = week.map({d: float(k) ** 2 for k, d in enumerate(sorted(week.unique()))})
    # Complete weeks: 7·1, 7·4, 7·9, 7·16; the first week of the panel is cut.
    scale = weekly_totals.weekly_scale(days, pd.Timestamp("2014-02-02"))
    assert scale[1] == pytest.approx(7 * (16 - 1) / 3)
