"""The sensors' decisions, without Dagster."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from forecast_assets.planning.decisions import (
    FIRST_DELAY,
    LONGEST_DELAY,
    ChampionState,
    Refresh,
    RefreshState,
    Skip,
    Training,
    next_retry,
    refresh_decision,
    training_decision,
)
from forecasting.evaluation.accuracy import MIN_DAYS

JUNE = date(2015, 6, 1)
NOW = datetime(2015, 6, 20, 8, tzinfo=UTC)
CHANGED = RefreshState(
    cells={JUNE: [7, 9]},
    newest_change=12,
    in_flight=False,
    failures=0,
    last_failure=None,
    now=NOW,
)


def test_what_changed_becomes_one_rectangle() -> None:
    decision = refresh_decision(CHANGED, [1, 7, 9, 11])
    assert decision == Refresh(JUNE, JUNE, 7, 9, run_key="change-12-try-0")


def test_nothing_is_asked_when_nothing_changed_or_a_refresh_is_in_flight() -> None:
    assert isinstance(refresh_decision(replace(CHANGED, cells={}), [7, 9]), Skip)
    assert isinstance(refresh_decision(replace(CHANGED, in_flight=True), [7, 9]), Skip)
    assert isinstance(refresh_decision(CHANGED, []), Skip)


def test_a_failure_is_tried_again_later_under_another_key() -> None:
    failed = replace(CHANGED, failures=1, last_failure=NOW)
    skipped = refresh_decision(failed, [7, 9])
    assert isinstance(skipped, Skip)
    assert "08:00:10" in skipped.reason
    again = refresh_decision(replace(failed, now=NOW + FIRST_DELAY), [7, 9])
    assert isinstance(again, Refresh)
    assert again.run_key == "change-12-try-1"


def test_waits_double_up_to_a_bound() -> None:
    assert next_retry(0, NOW) is None
    assert next_retry(3, NOW) == NOW + 4 * FIRST_DELAY
    assert next_retry(50, NOW) == NOW + LONGEST_DELAY
    assert timedelta(minutes=5) <= LONGEST_DELAY


FACTOR = 1.3
SLIPPED = ChampionState(
    version="2015-06-12-abc",
    calibrated_wape=0.08,
    days=MIN_DAYS,
    wape=0.12,
    newest_day=date(2015, 6, 19),
)


def test_a_model_that_slipped_is_trained_again_once_a_day() -> None:
    first = training_decision(SLIPPED, FACTOR)
    assert isinstance(first, Training)
    assert "WAPE 0.1200 over 7 days, 0.0800 when calibrated" in first.reason
    assert training_decision(SLIPPED, FACTOR) == first, "the same day gives the same key: one run"
    later = training_decision(replace(SLIPPED, newest_day=date(2015, 6, 20)), FACTOR)
    other = training_decision(replace(SLIPPED, version="2015-06-19-def"), FACTOR)
    assert isinstance(later, Training) and isinstance(other, Training)
    assert len({first.run_key, later.run_key, other.run_key}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"wape": 0.08 * FACTOR},
        {"wape": math.nan},
        {"days": MIN_DAYS - 1},
        {"calibrated_wape": None},
    ],
)
def test_a_model_that_holds_or_is_too_new_is_left_alone(change: dict[str, float | None]) -> None:
    assert isinstance(training_decision(replace(SLIPPED, **change), FACTOR), Skip)
