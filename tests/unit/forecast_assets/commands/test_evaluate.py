"""Evaluation and submission from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from forecast_assets.commands import evaluate, files, submission
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
    window = evaluate.Window(last - pd.Timedelta(days=4), 14)
    out = evaluate.forecast_window(days, window, recipe="ridge")
    known = out["date"] <= last
    assert out.loc[known, "actual"].notna().all() and out.loc[~known, "actual"].isna().all()
    # Store 4 has no plan after the last known day: the usual pattern is assumed and said.
    assert set(out.loc[out["plan_assumed"], "store"]) == {4}
    score = evaluate.score_window(evaluate.add_naive(out, days, window), days, window)
    assert score["rmspe"] < 0.2 and score["rmspe"] < score["naive_rmspe"]


def test_a_window_does_not_see_later_sales(folder: Path) -> None:
    days = files.read_days(folder)
    window = evaluate.Window(pd.Timestamp("2015-01-02"), 14)
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
