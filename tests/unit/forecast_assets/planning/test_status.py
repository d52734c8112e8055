"""The words of `make status` about the data."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from forecast_assets.planning.health import problems
from forecast_assets.planning.health_facts import HealthFacts, LateStore, Limits, StreamState
from forecast_assets.planning.status import describe_data

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY, BEFORE = date(2026, 11, 24), date(2026, 11, 23)
FACTS = HealthFacts(
    now=NOW,
    newest_sales={1: DAY, 2: DAY, 3: BEFORE},
    origins={1: DAY, 2: DAY, 3: BEFORE},
    refreshed_at=datetime(2026, 11, 25, 3, tzinfo=UTC),
    stream=StreamState("sales", "running", NOW),
)


def described(facts: HealthFacts) -> list[str]:
    return describe_data(facts, problems(facts, Limits()), stores=3, open_changes=4)


def test_the_state_of_the_data_is_told() -> None:
    assert described(FACTS) == [
        "sales: 3 stores, newest day 2026-11-24",
        "forecasts: newest origin 2026-11-24, 2 of 3 stores forecast from it; 0 stores stale, "
        "0 failed",
        "changes: 4 open; last refresh 2026-11-25 03:00 UTC",
        "stream: running, 0 events wait",
        "nothing is wrong with the data",
    ]


def test_problems_and_retired_stores_are_told() -> None:
    late = [LateStore(1, DAY), LateStore(2, DAY, "ValueError: no"), LateStore(3, DAY, "old")]
    facts = replace(FACTS, late=late, retired=frozenset({3}))
    lines = described(facts)
    assert lines[0].endswith("1 stores retired")
    assert "2 of 2 stores forecast from it; 1 stores stale, 1 failed" in lines[1]
    assert [line.split(":")[0] for line in lines[-2:]] == ["problem", "problem"]
    assert "nothing is wrong" not in lines


def test_an_empty_chain_says_so() -> None:
    assert described(HealthFacts(now=NOW)) == ["no sales have been loaded yet"]


def test_a_stream_that_is_known_to_be_dead_is_neither_running_nor_stuck() -> None:
    """The database still says "running", and after some minutes the rule says "stuck"."""
    just_killed = FACTS
    stuck = replace(
        FACTS, stream=StreamState("sales", "running", NOW, lag_events=7, behind_since=NOW - HOUR)
    )
    for facts, waited in ((just_killed, 0), (stuck, 7)):
        found = problems(facts, Limits())
        lines = describe_data(facts, found, stores=3, open_changes=4, stream_lives=False)
        assert lines[-1] == (
            "problem: the stream is dead: no event is stored; at its last sign of life, "
            f"2026-11-25 12:00 UTC, {waited} events waited"
        )
        assert not any("running" in line or "stuck" in line for line in lines)
        assert "nothing is wrong with the data" not in lines
