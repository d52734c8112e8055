"""Tests of accuracy: measures from sums equal measures from rows, and verdicts give reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting import scoring
from forecasting.evaluation.accuracy import MIN_DAYS, Accuracy, judge

ROWS = 500


def _sums(actual: np.ndarray, width: float = 0.2, level: float = 1.0) -> dict[str, Any]:
    """Return sums of forecasts at `level` times the actual sales, with intervals of `width`.

    The 95 % interval reaches from `1 - width` to `1 + width` times the median.
    """
    generator = np.random.default_rng(4)
    median = actual * level * np.exp(generator.normal(0, 0.1, len(actual)))
    sold = actual > 0
    inside = {
        name: int(((actual >= median * (1 - w)) & (actual <= median * (1 + w)) & sold).sum())
        for name, w in (("inside_80", width * 0.64), ("inside_95", width))
    }
    return {
        "kind": "issued",
        "lead_week": 1,
        "days": 28,
        "forecasts": len(actual),
        "sold": int(sold.sum()),
        "sales": actual.sum(),
        "mean": median.sum(),
        "absolute_error": np.abs(actual - median).sum(),
        "squared_percent_error": (((actual - median) / actual)[sold] ** 2).sum(),
        **inside,
    }


@pytest.fixture
def actual() -> np.ndarray:
    return np.random.default_rng(1).uniform(2000, 9000, ROWS).round()


def test_measures_are_those_of_the_rows(actual: np.ndarray) -> None:
    actual[:40] = 0.0
    generator = np.random.default_rng(4)
    median = actual * np.exp(generator.normal(0, 0.1, ROWS))
    with np.errstate(invalid="ignore"):
        parts = [_sums(actual)]
    accuracy = Accuracy.of(parts)
    assert accuracy.rmspe == pytest.approx(scoring.rmspe(actual, median))
    assert accuracy.wape == pytest.approx(scoring.wape(actual, median))
    assert accuracy.bias == pytest.approx(scoring.bias(actual, median))
    sold = actual > 0
    assert accuracy.coverage_95 == pytest.approx(
        scoring.coverage(actual[sold], 0.8 * median[sold], 1.2 * median[sold])
    )
    assert accuracy.forecasts == ROWS


def test_days_on_which_nothing_was_sold_have_no_measure() -> None:
    nothing = Accuracy.of([{**_sums(np.ones(3)), "sold": 0, "sales": 0.0}])
    assert nothing.measures() == {}
    assert nothing.findings() == []


def test_the_verdict_never_says_nan(actual: np.ndarray) -> None:
    closed = {**_sums(np.ones(3)), "sold": 0, "sales": 0.0, "lead_week": 2}
    nothing = judge([closed])
    assert nothing.passed
    assert "nothing was sold" in nothing.summary
    some = judge([_sums(actual), closed])
    assert "| 8 to 14 | 3 | – | – | – | – | – |" in some.table
    for verdict in (nothing, some):
        assert "nan" not in f"{verdict.summary} {verdict.table}".lower()


def test_usual_accuracy_passes(actual: np.ndarray) -> None:
    verdict = judge([_sums(actual)])
    assert verdict.passed
    assert "500 issued forecasts of the last 28 days" in verdict.summary
    assert verdict.table.count("\n") == 2


@pytest.mark.parametrize(
    ("width", "level", "finding"),
    [
        (0.1, 1.0, "80 % interval holds"),
        (0.6, 1.0, "too wide"),
        (0.2, 1.1, "too high"),
        (0.2, 0.9, "too low"),
    ],
)
def test_deviations_are_named(actual: np.ndarray, width: float, level: float, finding: str) -> None:
    verdict = judge([_sums(actual, width, level)])
    assert not verdict.passed
    assert finding in verdict.summary


def test_a_few_days_are_not_judged(actual: np.ndarray) -> None:
    verdict = judge([{**_sums(actual, 0.01), "days": MIN_DAYS - 1}])
    assert verdict.passed
    assert "too few days" in verdict.summary


def test_backtests_stand_in_until_issued_forecasts_meet_their_days(actual: np.ndarray) -> None:
    wrong = {**_sums(actual, 0.01), "kind": "backtest"}
    assert not judge([wrong]).passed
    assert judge([wrong, _sums(actual)]).passed
    assert judge([]).passed
