"""A store that fails is found, and the others' work is done once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_assets.planning.isolation import bisect_failures


class AwayError(Exception):
    """The database does not answer."""


@given(st.integers(2, 200).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(1, n)))))
def test_every_store_is_either_done_once_or_named(case: tuple[int, set[int]]) -> None:
    count, bad = case
    stores = list(range(1, count + 1))

    def work(some: list[int]) -> list[int]:
        if bad & set(some):
            raise ValueError(f"no sense in {sorted(bad & set(some))}\nmore")
        return some

    done, failed = bisect_failures(stores, work)
    assert sorted(store for some in done for store in some) == sorted(set(stores) - bad)
    assert failed == {store: f"ValueError: no sense in [{store}]" for store in bad}


def test_one_store_in_a_thousand_is_found_in_few_tries() -> None:
    tries = []

    def work(some: list[int]) -> int:
        tries.append(len(some))
        if 700 in some:
            raise ValueError("no")
        return len(some)

    done, failed = bisect_failures(range(1, 1_001), work)
    assert failed.keys() == {700}
    assert sum(done) == 999
    assert sum(tries) < 3 * 1_000


def test_stores_that_failed_before_do_not_make_the_others_start_over() -> None:
    tries = []

    def work(some: list[int]) -> int:
        tries.append(len(some))
        if {3, 5} & set(some):
            raise ValueError("no")
        return len(some)

    done, failed = bisect_failures(range(1, 101), work, suspects={3, 5, 8})
    assert failed.keys() == {3, 5}
    assert sum(done) == 98
    assert tries.count(97) == 1


def test_a_store_alone_is_named_and_what_is_everybodys_is_raised_at_once() -> None:
    def away(some: list[int]) -> None:
        calls.append(some)
        raise AwayError("no answer")

    calls: list[list[int]] = []
    assert bisect_failures([7], away) == ([], {7: "AwayError: no answer"})
    calls.clear()
    with pytest.raises(AwayError):
        bisect_failures([1, 2, 3], away, (AwayError,))
    assert calls == [[1, 2, 3]]
    assert bisect_failures([], away) == ([], {})
