"""Tests of the verdict on the coverage of totals."""

from __future__ import annotations

from typing import Any

from forecast_assets.steps.totals import judge_totals


def row(level: str, grain: str, last_days: int, inside_80: int, inside_95: int) -> dict[str, Any]:
    return {
        "level": level,
        "grain": grain,
        "totals": 100,
        "last_days": last_days,
        "inside_80": inside_80,
        "inside_95": inside_95,
    }


def test_usual_coverage_passes() -> None:
    passed, summary, table = judge_totals(
        [row("chain", "day", 28, 78, 96), row("store", "week", 4, 81, 95)]
    )
    assert passed and summary.startswith("the intervals of 2 kinds of total held")
    assert "| days of chain | 100 | 28 | 78.0% | 96.0% |" in table


def test_unusual_coverage_is_told() -> None:
    passed, summary, _ = judge_totals(
        [row("store_type", "day", 28, 40, 96), row("store", "week", 4, 95, 95)]
    )
    assert not passed
    assert "days of store type: the 80 % interval holds 40.0%: too narrow" in summary
    assert "weeks of store: the 80 % interval holds 95.0%: too wide" in summary


def test_few_days_are_not_judged() -> None:
    passed, summary, table = judge_totals([row("chain", "week", 3, 0, 0)])
    assert passed and summary == "too few totals are known yet" and "weeks of chain" in table
    assert judge_totals([]) == (True, "too few totals are known yet", "")
