from dataclasses import replace
from datetime import date, timedelta

from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.partition_cells import chunks
from forecast_assets.planning.scope import Scope

APRIL, MAY, JUNE = date(2015, 4, 1), date(2015, 5, 1), date(2015, 6, 1)
SCOPE = Scope(
    "run",
    data={MAY: [1], JUNE: [1, 2]},
    features={APRIL: [1], MAY: [1], JUNE: [1, 2]},
    models={JUNE: [1, 2]},
    calendar=Calendar("monthly"),
    first_days={1: date(2015, 5, 9), 2: date(2015, 6, 19)},
)


def test_a_scope_without_a_store_drops_its_cells_and_changes() -> None:
    left = SCOPE.without([1])
    assert left.data == {JUNE: [2]}, "May has no other store"
    assert left.features == {JUNE: [2]}
    assert left.models == {JUNE: [2]}
    assert left.first_days == {2: date(2015, 6, 19)}
    assert SCOPE.without([]) is SCOPE


def test_a_model_sees_its_period_but_no_day_after_the_span() -> None:
    assert SCOPE.end_of(MAY) == date(2015, 5, 31)
    limited = Scope(None, {}, {}, {}, Calendar("monthly"), days=(MAY, date(2015, 5, 20)))
    assert limited.end_of(MAY) == date(2015, 5, 20)


def test_only_changes_that_a_model_has_seen_count() -> None:
    assert SCOPE.changed_since(1, date(2015, 5, 9))
    assert not SCOPE.changed_since(1, date(2015, 5, 8))
    assert not SCOPE.changed_since(3, date(2015, 6, 30))


def test_of_earlier_days_only_cells_whose_features_differ_are_written() -> None:
    (chunk,) = chunks({APRIL: [1, 2], MAY: [1, 2]}, SCOPE.calendar)
    assert SCOPE.features_to_replace(chunk, {}) == list(chunks({MAY: [1]}, SCOPE.calendar))
    differing = {1: date(2015, 4, 29), 2: date(2015, 5, 30)}
    written = list(chunks({APRIL: [1], MAY: [1, 2]}, SCOPE.calendar))
    assert SCOPE.features_to_replace(chunk, differing) == written
    requested = replace(SCOPE, refresh_id=None)
    assert requested.features_to_replace(chunk, {}) == [chunk]


def test_backtests_that_have_seen_a_changed_plan_are_renewed() -> None:
    origins = [date(2015, 3, 31), date(2015, 4, 30), date(2015, 5, 31)]
    scope = replace(
        SCOPE, first_plan_days={1: date(2015, 6, 2)}, backtested={1: origins, 2: origins}
    )
    seen = scope.backtests_to_renew(timedelta(days=33))
    assert seen == {APRIL: [1], MAY: [1]}, "33 days after 31 March end before 2 June"
    assert replace(scope, models=seen).renewed_backtests() == seen
