"""The chain page's sentences about ranges, on made-up shares."""

from __future__ import annotations

from typing import Any

import pytest

from forecast_service.page.chain import days_sentence, totals_sentence


def held(**changes: Any) -> dict[str, Any]:
    usual = {"kind": "issued", "days": 28, "shares": {80: 0.81, 95: 0.951},
             "kept": {80: True, 95: True}}  # fmt: skip
    return usual | changes


@pytest.mark.parametrize(
    ("changes", "said", "kept"),
    [
        ({}, "81.0 % lay in the 80 % range and 95.1 % in the 95 % range over 28 days: as "
             "promised.", True),
        ({"shares": {80: 0.6, 95: 0.94}, "kept": {80: False, 95: True}},
         "the 80 % range is too narrow.", False),
        ({"shares": {80: 0.9, 95: 0.85}, "kept": {80: False, 95: False}},
         "the 80 % range is too wide and the 95 % range is too narrow.", False),
        ({"days": 1, "kept": {80: None, 95: None}}, "over 1 day, which is too few", None),
        ({"shares": {80: None, 95: None}}, "nothing was sold", None),
        ({"kind": "backtest"}, "Backtests of stores’ days", True),
    ],
)  # fmt: skip
def test_ranges_of_days(changes: dict[str, Any], said: str, kept: bool | None) -> None:
    sentence, result = days_sentence(held(**changes))
    assert said in sentence
    assert result is kept


@pytest.mark.parametrize(
    ("inside", "last_days", "said", "kept"),
    [
        (20, 4, "20 of 24 (83.3 %) lay in the 80 % range: as promised.", True),
        (10, 4, "too narrow", False),
        (24, 4, "too wide", False),
        (10, 3, "too few to judge", None),
    ],
)
def test_ranges_of_totals(inside: int, last_days: int, said: str, kept: bool | None) -> None:
    row = {"grain": "week", "totals": 24, "last_days": last_days, "inside_80": inside}
    sentence, result = totals_sentence(row)
    assert said in sentence
    assert result is kept
