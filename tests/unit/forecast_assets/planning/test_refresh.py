from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from forecast_assets.planning.refresh import (
    FIRST_WAIT,
    LONGEST_WAIT,
    Refresh,
    Seen,
    Wait,
    decide,
    next_try,
)

JUNE = date(2015, 6, 1)
NOW = datetime(2015, 6, 20, 8, tzinfo=UTC)
CHANGED = Seen(
    cells={JUNE: [7, 9]},
    newest_change=12,
    in_flight=False,
    failures=0,
    last_failure=None,
    now=NOW,
)


def test_what_changed_becomes_one_rectangle() -> None:
    decision = decide(CHANGED, [1, 7, 9, 11])
    assert decision == Refresh(JUNE, JUNE, 7, 9, run_key="change-12-try-0")


def test_nothing_is_asked_when_nothing_changed_or_a_refresh_is_in_flight() -> None:
    assert isinstance(decide(replace(CHANGED, cells={}), [7, 9]), Wait)
    assert isinstance(decide(replace(CHANGED, in_flight=True), [7, 9]), Wait)
    assert isinstance(decide(CHANGED, []), Wait)


def test_a_failure_is_tried_again_later_under_another_key() -> None:
    failed = replace(CHANGED, failures=1, last_failure=NOW)
    waiting = decide(failed, [7, 9])
    assert isinstance(waiting, Wait)
    assert "08:00:10" in waiting.reason
    again = decide(replace(failed, now=NOW + FIRST_WAIT), [7, 9])
    assert isinstance(again, Refresh)
    assert again.run_key == "change-12-try-1"


def test_waits_double_up_to_a_bound() -> None:
    assert next_try(0, NOW) is None
    assert next_try(3, NOW) == NOW + 4 * FIRST_WAIT
    assert next_try(50, NOW) == NOW + LONGEST_WAIT
    assert timedelta(minutes=5) <= LONGEST_WAIT
