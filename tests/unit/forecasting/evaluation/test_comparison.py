"""Tests of comparisons: recipes are scored on days after their training, and the better wins."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from forecasting.evaluation import comparison as module
from forecasting.evaluation.comparison import (
    COMPARISON_ORIGINS,
    compare_recipes,
    comparison_origins,
)
from forecasting.models.pooled import PooledModel
from forecasting.models.training import fit_pooled

UNTIL = date(2015, 2, 20)
HORIZON = 42


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, date, pd.Timestamp]]:
    """The recipe, origin and newest day of each training; `stack` is a `ridge` made worse."""
    calls: list[tuple[str, date, pd.Timestamp]] = []

    def fit(features: pd.DataFrame, *, origin: date, recipe: str, **others: object) -> PooledModel:
        seen = features[features["date"] <= pd.Timestamp(origin)]
        calls.append((recipe, origin, seen["date"].max()))
        model = fit_pooled(features, origin=origin, horizon=HORIZON, recipe="ridge")
        worse = replace(model.calibration, point_factor=model.calibration.point_factor * 1.3)
        return model if recipe == "ridge" else replace(model, recipe="stack", calibration=worse)

    monkeypatch.setattr(module, "fit_pooled", fit)
    return calls


def test_the_better_recipe_wins_whichever_serves(
    features: pd.DataFrame, trained: list[tuple[str, date, pd.Timestamp]]
) -> None:
    assert COMPARISON_ORIGINS == 2
    for recipes in (("ridge", "stack"), ("stack", "ridge")):
        outcome = compare_recipes(features, until=UNTIL, recipes=recipes, horizon=HORIZON)
        assert outcome is not None
        assert (outcome.champion, outcome.challenger) == ("ridge", "stack")
        assert outcome.challenger_model.recipe == "stack"
        assert "ridge (RMSPE 0." in outcome.summary("rmspe")
    origins = {origin for _, origin, _ in trained}
    assert origins == set(comparison_origins(date(2014, 1, 6), UNTIL, HORIZON))
    assert max(origins) == date(2015, 1, 9), "all days forecast from it are known"


def test_at_a_tie_the_recipe_that_serves_stays(
    features: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fit_pooled(features, origin=date(2014, 11, 1), horizon=HORIZON)
    monkeypatch.setattr(
        module, "fit_pooled", lambda *_, recipe, **__: replace(model, recipe=recipe)
    )
    for recipes in (("ridge", "stack"), ("stack", "ridge")):
        outcome = compare_recipes(features, until=UNTIL, recipes=recipes, horizon=HORIZON)
        assert outcome is not None and outcome.champion == recipes[0]


def test_sales_after_the_last_day_change_nothing(
    features: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPARISON_ORIGINS", 1)

    def errors(rows: pd.DataFrame) -> list[float]:
        outcome = compare_recipes(rows, until=UNTIL, recipes=("ridge", "ridge"), horizon=HORIZON)
        assert outcome is not None
        return [trial.rmspe for trial in outcome.trials]

    later = features.copy()
    later.loc[later["date"] > pd.Timestamp(UNTIL), "log_sales"] = np.float32(3.0)
    assert errors(later) == errors(features)


def test_a_short_history_gives_no_comparison(features: pd.DataFrame) -> None:
    assert compare_recipes(features, until=date(2014, 4, 1), recipes=("ridge", "stack")) is None
    assert compare_recipes(features.head(0), until=UNTIL, recipes=("ridge", "stack")) is None
