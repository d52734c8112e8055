"""The sensors' decisions, without Dagster."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from forecast_assets.planning.decisions import (
    FIRST_DELAY,
    LONGEST_DELAY,
    ChampionState,
    PastRuns,
    Refresh,
    RefreshState,
    Skip,
    Training,
    TrainingState,
    challenger_decision,
    first_training_decision,
    next_retry,
    refresh_decision,
    training_decision,
)
from forecasting.evaluation.accuracy import MIN_DAYS

JUNE = date(2015, 6, 1)
NOW = datetime(2015, 6, 20, 8, tzinfo=UTC)
CHANGED = RefreshState(
    cells={JUNE: [7, 9]}, newest_change=12, newest_period=JUNE, runs=PastRuns(), now=NOW
)


def test_what_changed_becomes_one_rectangle() -> None:
    decision = refresh_decision(CHANGED, [1, 7, 9, 11])
    assert decision == Refresh(JUNE, JUNE, 7, 9, run_key="change-12-after-none")


def test_nothing_is_asked_when_nothing_changed_or_a_refresh_is_in_flight() -> None:
    assert isinstance(refresh_decision(replace(CHANGED, newest_change=None), [7, 9]), Skip)
    assert isinstance(
        refresh_decision(replace(CHANGED, runs=PastRuns(in_flight=True)), [7, 9]), Skip
    )
    assert isinstance(refresh_decision(CHANGED, []), Skip)


def test_changes_that_make_nothing_stale_are_closed_by_a_refresh_of_any_partition() -> None:
    """A plan for a store that opens in three weeks, or a store that has no partition."""
    for cells in ({}, {JUNE: [404]}):
        decision = refresh_decision(replace(CHANGED, cells=cells), [7, 9])
        assert decision == Refresh(JUNE, JUNE, 9, 9, run_key="change-12-after-none")


def test_a_failure_is_tried_again_later_under_another_key() -> None:
    failed = replace(CHANGED, runs=PastRuns("a1", failures=1, last_failure=NOW))
    skipped = refresh_decision(failed, [7, 9])
    assert isinstance(skipped, Skip)
    assert "08:00:10" in skipped.reason
    again = refresh_decision(replace(failed, now=NOW + FIRST_DELAY), [7, 9])
    assert isinstance(again, Refresh)
    assert again.run_key == "change-12-after-a1"


def test_a_failure_is_tried_again_for_ever() -> None:
    """The count of failures is capped, so that a key made of it would be used up."""
    keys = set()
    for attempt in range(500):
        runs = PastRuns(f"run-{attempt}", failures=min(attempt, 10), last_failure=NOW)
        decision = refresh_decision(replace(CHANGED, runs=runs, now=NOW + LONGEST_DELAY), [7, 9])
        assert isinstance(decision, Refresh)
        keys.add(decision.run_key)
    assert len(keys) == 500


def test_waits_double_up_to_a_bound() -> None:
    def after(failures: int) -> datetime | None:
        return next_retry(PastRuns("a1", failures=failures, last_failure=NOW))

    assert after(0) is None
    assert after(3) == NOW + 4 * FIRST_DELAY
    assert after(50) == NOW + LONGEST_DELAY
    assert timedelta(minutes=5) <= LONGEST_DELAY <= timedelta(minutes=10)


READY = TrainingState(
    champion=None, newest_features=date(2015, 6, 19), changes_open=False, runs=PastRuns(), now=NOW
)
SERVING = replace(READY, champion="2015-06-12-abc")


def test_the_first_training_waits_for_features_and_is_tried_again_for_ever() -> None:
    first = first_training_decision(READY, "f1")
    assert isinstance(first, Training)
    for state in (
        SERVING,
        replace(READY, changes_open=True),
        replace(READY, newest_features=None),
        replace(READY, runs=PastRuns("a1", in_flight=True)),
        replace(READY, runs=PastRuns("a1", failures=1, last_failure=NOW)),
    ):
        assert isinstance(first_training_decision(state, "f1"), Skip)
    keys = {first.run_key}
    for attempt in range(100):
        runs = PastRuns(f"run-{attempt}", failures=10, last_failure=NOW - LONGEST_DELAY)
        again = first_training_decision(replace(READY, runs=runs), "f1")
        assert isinstance(again, Training)
        keys.add(again.run_key)
    assert len(keys) == 101


def test_a_challenger_is_trained_once_behind_a_champion_that_was_not_compared() -> None:
    assert isinstance(challenger_decision(SERVING, "stack", was_compared=False), Training)
    assert isinstance(challenger_decision(SERVING, "stack", was_compared=True), Skip)
    assert isinstance(challenger_decision(SERVING, None, was_compared=False), Skip)
    assert isinstance(challenger_decision(READY, "stack", was_compared=False), Skip)
    waiting = replace(SERVING, changes_open=True)
    assert isinstance(challenger_decision(waiting, "stack", was_compared=False), Skip)


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
