"""Every spell is told once at its start and once at its end, whatever the webhook does."""

from datetime import UTC, datetime, timedelta

from forecast_assets.planning.alert_messages import Rule
from forecast_assets.planning.alerting import REPEAT_AFTER, AlertState, CheckState, advance
from forecast_assets.planning.health import Problem

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATE = Problem(Rule.LATE, {"": "forecasts of 3 stores are stale"})


def failing(*stores: int) -> Problem:
    return Problem(Rule.FAILED, {str(store): f"store {store}: no" for store in stores})


def sent(state: AlertState, problems: list[Problem]) -> tuple[AlertState, tuple[str, ...]]:
    """The next state when every message is taken, and the messages."""
    after = AlertState.from_cursor(state.to_cursor())
    after = advance(after, problems, set(Rule), NOW)
    return AlertState(after.spells), after.outbox


def test_each_spell_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    state = AlertState()
    told = []
    for problems in ([LATE], [LATE], [], [], [LATE], []):
        state, messages = sent(state, problems)
        told.append(len(messages))
    assert told == [1, 0, 1, 0, 1, 1]


def test_a_spell_of_one_store_does_not_hide_the_next_store() -> None:
    state, first = sent(AlertState(), [failing(7)])
    state, second = sent(state, [failing(7, 9)])
    state, third = sent(state, [failing(9), LATE])
    assert ["store 7: no" in first[0], "store 9: no" in second[0]] == [True, True]
    assert "store 7" not in second[0]
    assert sorted(message.split()[0] for message in third) == ["forecasts", "no"]


def test_messages_wait_for_the_webhook_in_order() -> None:
    state = AlertState()
    for problems in ([LATE], [], [LATE]):
        state = advance(AlertState.from_cursor(state.to_cursor()), problems, set(Rule), NOW)
    assert len(state.outbox) == 3
    assert state.outbox[1].startswith("forecasts are fresh again")


def test_spells_go_on_while_nothing_can_be_judged() -> None:
    state, _ = sent(AlertState(), [LATE])
    down = Problem(Rule.DATABASE, {"": "nothing can be judged"})
    dark = advance(state, [down], {Rule.DATABASE}, NOW)
    assert dark.outbox == ("nothing can be judged",)
    back = advance(AlertState(dark.spells), [LATE], set(Rule), NOW)
    assert len(back.outbox) == 1
    assert back.outbox[0].startswith("the sales database answers again")


def test_a_cursor_is_never_empty_and_one_of_another_format_begins_anew() -> None:
    assert AlertState().to_cursor()
    assert CheckState().to_cursor()
    for cursor in (None, "", "2026-11-25T12:00:00+00:00", "[]", '{"spells": 3, "outbox": 4}'):
        assert AlertState.from_cursor(cursor) == AlertState()
        assert CheckState.from_cursor(cursor) == CheckState()


def test_checks_run_again_when_a_result_would_change_and_not_every_minute() -> None:
    state, runs = CheckState(), 0
    for minute in range(60):
        # A backlog: other stores are late at every look.
        backlog = [Problem(Rule.LATE, {"": f"forecasts of {minute} stores are stale"})]
        after = CheckState.of(backlog, NOW + timedelta(minutes=minute))
        if after.needs_run(state):
            state, runs = CheckState.from_cursor(after.to_cursor()), runs + 1
    assert runs == 60 / (REPEAT_AFTER.total_seconds() / 60)
    assert CheckState.of([], NOW).needs_run(state)
    assert not CheckState.of([], NOW).needs_run(CheckState())


def test_checks_of_a_new_instance_are_evaluated_soon_and_then_at_least_daily() -> None:
    state, requested = CheckState(), []
    for minute in range(0, 3 * 24 * 60, 5):
        after = CheckState.of([], NOW + timedelta(minutes=minute))
        if after.needs_run(state):
            requested.append(minute)
            state = after
        else:
            state = after.unchanged(state)
    assert requested == [15, 15 + 24 * 60, 15 + 48 * 60]
