"""The rules of health on made-up facts: each speaks when it should, and only then."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest

from forecast_assets.planning.alert_messages import Rule
from forecast_assets.planning.health import problems
from forecast_assets.planning.health_facts import (
    HealthFacts,
    LateStore,
    Limits,
    Quarantined,
    SalesDay,
    StreamState,
    UnusualSale,
)

LIMITS = Limits()
#: A Wednesday.
TODAY = date(2026, 11, 25)
NOW = datetime.combine(TODAY, time(12), UTC)


def at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def days_until(last: date, *, closed: int | None = 6, hour: int = 22) -> list[SalesDay]:
    """Nine weeks in which 100 stores report at the day's end, but none on one weekday."""
    days = [last - timedelta(days=back) for back in range(62, -1, -1)]
    return [SalesDay(day, 100, at(day, hour)) for day in days if day.weekday() != closed]


def healthy(now: datetime = NOW) -> HealthFacts:
    yesterday = now.date() - timedelta(days=1)
    return HealthFacts(
        now=now,
        days=days_until(yesterday),
        newest_sales={1: yesterday, 2: yesterday},
        origins={1: yesterday, 2: yesterday},
        refreshed_at=now - timedelta(hours=13),
        stream=StreamState("sales", "running", now - timedelta(seconds=3), starts=1),
        quarantined=Quarantined(100, {"nan": 1}),
    )


def found(facts: HealthFacts, limits: Limits = LIMITS) -> dict[Rule, str]:
    return {problem.rule: problem.summary for problem in problems(facts, limits)}


def test_a_healthy_chain_has_no_problem() -> None:
    assert found(healthy()) == {}


def test_an_empty_database_has_no_problem() -> None:
    assert found(HealthFacts(now=NOW, readable_models=0)) == {}


# Arrival ---------------------------------------------------------------------------------------


def at_time(day: date, hour: int, last: date) -> HealthFacts:
    facts = healthy(at(day, hour))
    return replace(facts, days=days_until(last), newest_sales={1: last}, origins={1: last})


def test_sales_are_due_when_their_weekday_usually_has_come() -> None:
    monday = date(2026, 11, 23)
    saturday = date(2026, 11, 21)
    assert Rule.EVENTS not in found(at_time(monday, 12, saturday)), "none come on a Sunday"
    assert Rule.EVENTS not in found(at_time(monday, 23, saturday)), "within the hours of grace"
    late = found(at_time(monday + timedelta(days=1), 2, saturday))
    assert "Monday 2026-11-23" in late[Rule.EVENTS]
    assert "0 of usually 100 stores" in late[Rule.EVENTS]


def test_a_day_of_which_few_stores_came_has_not_come() -> None:
    monday = date(2026, 11, 23)
    facts = at_time(monday + timedelta(days=1), 2, date(2026, 11, 21))
    few = [*facts.days, SalesDay(monday, 3, at(monday, 21))]
    assert "3 of usually 100 stores" in found(replace(facts, days=few))[Rule.EVENTS]
    enough = [*facts.days, SalesDay(monday, 60, at(monday, 21))]
    assert Rule.EVENTS not in found(replace(facts, days=enough))


def test_a_day_that_never_came_is_missed_for_a_week_although_later_ones_came() -> None:
    facts = healthy()
    lost = TODAY - timedelta(days=2)
    without = replace(facts, days=[day for day in facts.days if day.day != lost])
    text = found(without)[Rule.EVENTS]
    assert f"sales of 1 days have not come: those of {lost:%A} {lost}" in text
    later = replace(
        without,
        now=at(TODAY + timedelta(days=7), 6),
        days=[
            *without.days,
            *(replace(facts.days[-1], day=TODAY + timedelta(days=n)) for n in range(7)),
        ],
    )
    assert f"{lost}" not in found(later).get(Rule.EVENTS, "")


def test_without_days_that_came_one_by_one_sales_are_due_at_noon_of_the_next_day() -> None:
    loaded = at(TODAY, 9)
    yesterday = TODAY - timedelta(days=1)
    facts = replace(healthy(), days=[replace(day, arrived=loaded) for day in days_until(yesterday)])
    assert found(facts) == {}
    assert Rule.EVENTS not in found(replace(facts, now=at(TODAY + timedelta(days=1), 11)))
    assert Rule.EVENTS in found(replace(facts, now=at(TODAY + timedelta(days=1), 16)))


def test_a_replayed_archive_is_judged_by_its_own_pace() -> None:
    last = date(2015, 7, 31)
    loaded = NOW - timedelta(hours=2)
    days = [replace(day, arrived=loaded) for day in days_until(last)]
    facts = replace(healthy(), days=days, newest_sales={1: last}, origins={1: last})
    assert found(facts) == {}


def test_a_calendar_that_has_ended_expects_nothing() -> None:
    last = TODAY - timedelta(days=10)
    facts = at_time(TODAY, 12, last)
    assert {Rule.EVENTS, Rule.OLD} <= found(facts).keys()
    assert found(facts, replace(LIMITS, calendar_end=last)) == {}


def test_a_store_that_falls_silent_is_named_until_it_is_retired() -> None:
    facts = replace(healthy(), newest_sales={1: date(2026, 11, 24), 2: date(2026, 11, 10)})
    facts = replace(facts, origins=facts.newest_sales)
    assert found(facts)[Rule.SILENT] == "stores without recent sales: 1 (store 2 since 2026-11-10)"
    assert found(replace(facts, retired=frozenset({2}))) == {}


# Stream ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (StreamState("sales", "running", NOW - timedelta(minutes=6)), "is dead: it has shown no"),
        (StreamState("sales", "stopped", NOW - timedelta(minutes=6)), "is dead: it was stopped"),
        (StreamState("sales", "refused", NOW, error="recreated"), "needs a decision: recreated"),
        (
            StreamState(
                "sales", "restarting", NOW, failing_since=NOW - timedelta(minutes=6), error="disk"
            ),
            "has been restarting for more than 5 minutes: disk",
        ),
        (StreamState("sales", "running", NOW, starts=4), "was started 4 times within an hour"),
        (
            StreamState(
                "sales", "running", NOW, behind_since=NOW - timedelta(minutes=6), lag_events=7
            ),
            "is stuck: 7 events wait",
        ),
    ],
)
def test_a_stream_that_is_dead_restarting_or_stuck_is_told(state: StreamState, words: str) -> None:
    facts = replace(healthy(), stream=state)
    assert words in found(facts)[Rule.STREAM]
    assert found(facts, replace(LIMITS, stream_silence=None)) == {}, "a chain without a stream"


@pytest.mark.parametrize(
    "state",
    [
        StreamState("sales", "starting", NOW - timedelta(minutes=4)),
        StreamState("sales", "stopped", NOW - timedelta(minutes=1)),
        StreamState("sales", "restarting", NOW, failing_since=NOW - timedelta(minutes=1)),
        StreamState("sales", "running", NOW, behind_since=NOW - timedelta(minutes=1)),
        StreamState("sales", "running", NOW, starts=3),
    ],
)
def test_a_stream_that_recovers_by_itself_is_not_told(state: StreamState) -> None:
    assert found(replace(healthy(), stream=state)) == {}


# Quarantine, freshness and size ------------------------------------------------------------------


def test_more_than_a_share_in_quarantine_is_told_with_its_reasons() -> None:
    facts = replace(healthy(), quarantined=Quarantined(100, {"nan": 2, "unknown_store": 9}))
    assert "11 of the last day's 100 events" in found(facts)[Rule.QUARANTINE]
    assert "unknown_store 9, nan 2" in found(facts)[Rule.QUARANTINE]
    assert found(facts, replace(LIMITS, quarantined_share=0.11)) == {}


def test_late_and_failing_stores_are_different_problems() -> None:
    late = [LateStore(7, date(2026, 11, 1)), LateStore(8, date(2026, 11, 2), "ValueError: no")]
    facts = replace(healthy(), late=late)
    assert "forecasts of 1 stores are stale" in found(facts)[Rule.LATE]
    assert "2026-11-01" not in found(facts)[Rule.LATE], "the day of the sales is not the wait's"
    today, earlier = NOW.replace(hour=9, minute=13), NOW - timedelta(days=2)
    timed = [replace(late[0], made_at=today), LateStore(9, NOW.date(), None, earlier)]
    assert (
        "(store 7, waiting since 09:13 UTC, store 9, waiting since 2026-11-"
        in (found(replace(facts, late=timed))[Rule.LATE])
    )
    assert "store 8 since 2026-11-02: ValueError: no" in found(facts)[Rule.FAILED]
    assert found(replace(facts, retired=frozenset({7, 8}))) == {}


def test_forecasts_are_old_when_no_model_can_be_read() -> None:
    facts = replace(healthy(), readable_models=0)
    assert "no pooled model can be read" in found(facts)[Rule.OLD]
    first = replace(facts, refreshed_at=NOW - timedelta(minutes=1))
    assert found(first) == {}, "a new chain trains its first model"


def test_forecasts_are_old_when_their_origin_is_days_before_today() -> None:
    last = TODAY - timedelta(days=4)
    facts = replace(healthy(), newest_sales={1: last}, origins={1: last}, days=())
    assert "start from 2026-11-21, 4 days before 2026-11-25" in found(facts)[Rule.OLD]
    assert found(facts, replace(LIMITS, max_age_days=4)) == {}


def test_forecasts_behind_their_sales_are_old_although_no_change_is_open() -> None:
    newest = date(2026, 11, 24)
    facts = replace(healthy(), origins={1: newest, 2: newest - timedelta(days=1)})
    assert "store 2: forecast from 2026-11-23, sales to 2026-11-24" in found(facts)[Rule.BEHIND]
    later = replace(healthy(), origins={1: newest, 2: newest + timedelta(days=1)})
    assert "store 2: forecast from 2026-11-25" in found(later)[Rule.BEHIND], "its day was withdrawn"
    assert found(replace(facts, waiting=frozenset({2}))) == {}, "a refresh will take it"
    missing = replace(facts, origins={1: newest})
    assert "store 2: forecast from nothing" in found(missing)[Rule.BEHIND]


def test_unconfirmed_sales_of_an_unusual_size_are_listed() -> None:
    facts = replace(healthy(), unusual=[UnusualSale(2, TODAY, 731_200)])
    assert "store 2 on 2026-11-25: 731,200" in found(facts)[Rule.UNUSUAL]
