"""The worklist's rules on made-up facts, and the ranking that they make."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from typing import Any

import anyio
import pandas as pd
import pytest

from forecast_service.formats import Format
from forecast_service.newest import Newest
from forecast_service.worklist import service
from forecast_service.worklist.rules import Code, Reason, day_name, reasons
from warehouse.worklist import StoreFacts

TODAY = date(2015, 6, 19)
AHEAD = {
    "store": 7, "origin": TODAY, "sales": 60_000.0, "open_days": 12, "assumed_days": 0,
    "first_assumed": None, "assumed_half_width": 0.0,
}  # fmt: skip
ACCURATE = {
    "recent_days": 12, "recent_error": 6_000.0, "recent_sales": 60_000.0, "past_days": 36,
    "past_error": 18_000.0, "past_sales": 180_000.0, "naive_error": 9_000.0, "judged_days": 7,
    "outside_days": 1, "outside_error": 900.0, "last_outside": TODAY,
}  # fmt: skip


def judge(**facts: Any) -> list[Reason]:
    ahead = AHEAD | facts.pop("ahead", {})
    return reasons(StoreFacts(ahead=ahead, **facts), TODAY, max_age_days=3)


def moves(*shares: float) -> list[dict[str, Any]]:
    """Moves of the expected sales, the newest first."""
    return [
        {"step": step, "before": 50_000.0, "after": 50_000.0 * (1 + share),
         "first_day": date(2015, 6, 22), "last_day": date(2015, 7, 26)}
        for step, share in enumerate(shares)
    ]  # fmt: skip


def test_a_store_like_always_needs_nobody() -> None:
    usual = moves(0.02, -0.03, 0.01, 0.02, -0.02)
    assert judge(accuracy=ACCURATE, moves=usual) == []


@pytest.mark.parametrize(
    ("facts", "code", "sales", "said"),
    [
        (
            {"accuracy": ACCURATE | {"recent_error": 12_000.0}},
            Code.ACCURACY, 6_000, "off by 20.0 % of sales; before that, it was 10.0 %",
        ),
        (
            {"accuracy": ACCURATE | {"recent_error": 9_000.0, "naive_error": 3_000.0}},
            Code.ACCURACY, 6_000, "two weeks earlier would have erred by 5.0 %",
        ),
        (
            {"accuracy": ACCURATE | {"outside_days": 3}},
            Code.OUTSIDE, 900, "3 of the last 7 days were outside the 95 % range, last on Fri 19",
        ),
        (
            {"missing": {"days": 2, "last_day": TODAY, "stores_that_came": 1114}},
            Code.MISSING, 10_000, "Sales of Fri 19 Jun and 1 more day have not come, although",
        ),
        (
            {"ahead": {"origin": date(2015, 6, 15)}},
            Code.MISSING, 20_000, "No sales since Mon 15 Jun, 4 days behind the chain",
        ),
        (
            {"moves": moves(-0.1, 0.03, 0.01, 0.02, 0.02)},
            Code.MOVED, 5_000, "Mon 22 Jun to Sun 26 Jul went down by 10.0 % (−5,000) within a "
            "week; 2.0 % a week is usual",
        ),
        ({"moves": moves(0.2)}, Code.MOVED, 10_000, "went up by 20.0 % (+10,000) within a week."),
        (
            {"unseen": [{"date": date(2015, 6, 27), "promo": 1, "state_holiday": "a",
                         "school_holiday": 0, "half_width": 800.0}]},
            Code.UNSEEN, 800, "Saturday with promo, on a public holiday",
        ),
        (
            {"ahead": {"assumed_days": 2, "first_assumed": date(2015, 6, 22),
                       "assumed_half_width": 700.0}},
            Code.ASSUMED, 700, "2 of the next 14 days have no plan, the first on Mon 22 Jun",
        ),
        (
            {"unusual": [{"date": TODAY, "sales": 105_000}]},
            Code.UNUSUAL, 100_000, "Sales of Fri 19 Jun are 105,000, where some 5,000 are usual",
        ),
        (
            {"overdue": {"error": "boom", "made_at": datetime(2015, 6, 19, 8, tzinfo=UTC)}},
            Code.FAILED, 5_000, "has failed since 2015-06-19 08:00 UTC",
        ),
    ],
)  # fmt: skip
def test_a_reason_says_what_and_how_much(
    facts: dict[str, Any], code: Code, sales: float, said: str
) -> None:
    (reason,) = judge(**facts)
    assert reason.code is code
    assert reason.sales == pytest.approx(sales)
    assert said in reason.sentence


def test_too_little_history_accuses_nobody() -> None:
    few = ACCURATE | {"recent_error": 60_000.0, "recent_days": 6, "outside_days": 0}
    assert judge(accuracy=few, moves=moves(0.1, 0.0, 0.0)) == []
    assert judge(overdue={"error": None}) == [], "it only waits"


@pytest.mark.parametrize("is_expired", [True, False])
def test_an_adjustment_is_told_before_and_after_it_ends(is_expired: bool) -> None:
    row = {
        "first_day": date(2015, 6, 20), "last_day": date(2015, 6, 25), "value": None,
        "percent": 12.5, "reason": "event", "author": "Ada", "is_expired": is_expired,
        "expires_at": datetime(2015, 6, 21, 6, tzinfo=UTC), "difference": 3_000.0,
    }  # fmt: skip
    (reason,) = judge(adjustments=[row])
    assert "to +12.5 % (event, Ada)" in reason.sentence
    assert "of Sat 20 Jun to Thu 25 Jun to" in reason.sentence
    assert ("expired on Sun 21 Jun" if is_expired else "expires on Sun 21 Jun") in reason.sentence


def test_one_day_is_no_span() -> None:
    row = {
        "first_day": date(2015, 6, 20), "last_day": date(2015, 6, 20), "value": 9_000.0,
        "percent": None, "reason": "event", "author": "Ada", "is_expired": True,
        "expires_at": datetime(2015, 6, 21, 6, tzinfo=UTC), "difference": 3_000.0,
    }  # fmt: skip
    (reason,) = judge(adjustments=[row])
    assert reason.sentence.startswith("The adjustment of Sat 20 Jun to 9,000 a day (event, Ada)")


def ranking() -> service.Ranking:
    items = [
        {"rank": rank, "store": store, "origin": TODAY, "sales_at_stake": 1.0,
         "sales_in_question": 1.0, "reasons": [{"code": code, "sentence": "=x", "sales": 1.0}
                                              for code in codes]}
        for rank, (store, codes) in enumerate(
            [(5, [Code.MOVED]), (2, [Code.MISSING, Code.MOVED]), (9, [Code.MISSING])], 1)
    ]  # fmt: skip
    return service.Ranking("v", TODAY, 20, items)


def test_filters_keep_the_ranks_and_pages_go_on_after_them() -> None:
    whole = ranking()
    first = service.page(whole, [Code.MISSING], [], 0, 1)
    assert [item["rank"] for item in first["items"]] == [2]
    assert first["counts"] == {"forecast_moved": 2, "missing_day": 2}
    rest = service.page(whole, [Code.MISSING], [], 2, 1)
    assert [item["store"] for item in rest["items"]] == [9]
    assert (first["next"] is None, rest["next"]) == (False, None)
    assert [item["store"] for item in whole.matching([], [2, 9])] == [2, 9]


def test_the_file_has_a_row_per_reason_and_runs_no_formula() -> None:
    body = service.as_file(ranking().items, Format.CSV)
    rows = pd.read_csv(io.BytesIO(body))
    assert rows[["store", "code"]].to_numpy().tolist() == [
        [5, "forecast_moved"], [2, "missing_day"], [2, "forecast_moved"], [9, "missing_day"],
    ]  # fmt: skip
    assert set(rows["sentence"]) == {"'=x"}


def test_a_day_is_named_as_people_do() -> None:
    assert day_name(date(2015, 7, 3)) == "Fri 3 Jul"


def test_one_request_makes_what_others_wait_for_and_a_failure_is_not_kept() -> None:
    made: list[str] = []
    newest: Newest[str] = Newest()

    async def make() -> str:
        made.append("try")
        await anyio.sleep(0.01)
        if len(made) == 1:
            raise ValueError("away")
        return f"value {len(made)}"

    async def use() -> None:
        with pytest.raises(ValueError, match="away"):
            await newest.get("1", make)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(newest.get, "1", make)
        assert await newest.get("1", make) == "value 2"
        assert await newest.get("2", make) == "value 3"

    anyio.run(use)
