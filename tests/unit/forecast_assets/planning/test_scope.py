from datetime import date

from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.scope import Scope

MAY, JUNE = date(2015, 5, 1), date(2015, 6, 1)
SCOPE = Scope(
    "run",
    data={MAY: [1], JUNE: [1, 2]},
    models={JUNE: [1, 2]},
    calendar=Calendar("monthly"),
    first_days={1: date(2015, 5, 9), 2: date(2015, 6, 19)},
)


def test_a_scope_without_a_store_drops_its_cells_and_changes() -> None:
    left = SCOPE.without([1])
    assert left.data == {JUNE: [2]}, "May has no other store"
    assert left.models == {JUNE: [2]}
    assert left.first_days == {2: date(2015, 6, 19)}
    assert SCOPE.without([]) is SCOPE


def test_a_model_sees_its_period_but_no_day_after_the_span() -> None:
    assert SCOPE.end_of(MAY) == date(2015, 5, 31)
    limited = Scope(None, {}, {}, Calendar("monthly"), days=(MAY, date(2015, 5, 20)))
    assert limited.end_of(MAY) == date(2015, 5, 20)


def test_only_changes_that_a_model_has_seen_count() -> None:
    assert SCOPE.changed_since(1, date(2015, 5, 9))
    assert not SCOPE.changed_since(1, date(2015, 5, 8))
    assert not SCOPE.changed_since(3, date(2015, 6, 30))
