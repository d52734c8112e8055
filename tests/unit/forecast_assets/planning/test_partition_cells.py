from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from forecast_assets.planning.calendar import Calendar
from forecast_assets.planning.partition_cells import (
    CHUNK_PERIODS,
    StorePeriods,
    cells_since,
    chunks,
    merge,
    rectangle,
)

MONTHLY = Calendar("monthly")
MAY, JUNE, JULY = date(2015, 5, 1), date(2015, 6, 1), date(2015, 7, 1)


def test_cells_run_from_the_changed_day_to_the_newest() -> None:
    cells = cells_since(
        {1: date(2015, 5, 9), 2: date(2015, 6, 19), 3: date(2015, 6, 1)},
        {1: date(2015, 6, 19), 2: date(2015, 6, 19)},
        MONTHLY,
    )
    assert cells == {MAY: [1], JUNE: [1, 2]}, "store 3 has no sales, so it has no cell"


def test_a_changed_plan_ahead_gives_the_newest_days_own_period() -> None:
    assert cells_since({7: date(2015, 9, 1)}, {7: date(2015, 6, 19)}, MONTHLY) == {JUNE: [7]}


def test_merge_is_a_union() -> None:
    assert merge({JUNE: [2, 1]}, {MAY: [3], JUNE: [2, 4]}) == {MAY: [3], JUNE: [1, 2, 4]}


def test_the_rectangle_follows_the_partitions_order_not_the_numbers() -> None:
    corners = rectangle({MAY: [30], JULY: [4, 9]}, ordered_stores=[9, 30, 4, 1])
    assert corners == (MAY, JULY, 9, 4)
    assert rectangle({MAY: [77]}, ordered_stores=[1, 2]) is None


periods = st.sampled_from([date(2014 + k // 12, k % 12 + 1, 1) for k in range(30)])
some_cells = st.dictionaries(
    periods, st.sets(st.integers(1, 5), min_size=1).map(sorted), max_size=30
)


@given(some_cells)
def test_chunks_cover_every_cell_once(cells: StorePeriods) -> None:
    seen: list[tuple[date, int]] = []
    for chunk in chunks(cells, MONTHLY):
        assert len(chunk.periods) <= CHUNK_PERIODS
        assert chunk.first_day == chunk.periods[0]
        assert chunk.last_day > chunk.periods[-1]
        seen += [(period, store) for period in chunk.periods for store in chunk.stores]
    assert sorted(seen) == [(p, s) for p in sorted(cells) for s in cells[p]]


def test_neighbouring_periods_with_the_same_stores_share_a_chunk() -> None:
    (chunk,) = chunks({MAY: [1, 2], JUNE: [1, 2], JULY: [1, 2]}, MONTHLY)
    assert chunk.periods == (MAY, JUNE, JULY)
    assert (chunk.first_day, chunk.last_day) == (MAY, date(2015, 7, 31))
    separate = list(chunks({MAY: [1], JULY: [1]}, MONTHLY))
    assert [part.periods for part in separate] == [(MAY,), (JULY,)]
