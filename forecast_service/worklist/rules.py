"""Rules that decide from facts why a store needs a person, in words and in sales.

Pure functions. Every reason carries the sales in question: how much of what is planned may be
wrong because of it. Their sum ranks the stores, so a rank can be explained by its reasons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from statistics import median
from typing import Any

from warehouse.service.worklist import AHEAD_DAYS, RECENT_DAYS
from warehouse.worklist import StoreFacts

#: Recent error over the error before, and over the naive's, from which accuracy has slipped. With
#: two weeks of days, chance alone reaches the first in about one store of a hundred.
SLIPPED = 1.5
#: Days with sales that both spans need before they are compared.
MIN_RECENT_DAYS, MIN_PAST_DAYS = 7, 28
#: Days outside the 95 % range of the newest week that chance rarely reaches: one store of 450,
#: where two days are found in one of 23. In a week of the data set (to 2015-06-19), 52 of 1,115
#: stores had two, as by chance, and 15 had more.
MIN_OUTSIDE_DAYS = 3
#: Movement over the store's median movement, and over its sales, from which a forecast has moved.
MOVED, MIN_MOVE = 3.0, 0.05
#: Earlier movements that tell what is usual. Before that, only a large one is told.
MIN_MOVES, LARGE_MOVE = 4, 0.15


class Code(StrEnum):
    """Why a store needs a person."""

    ACCURACY = "accuracy_slipped"
    OUTSIDE = "outside_range"
    MISSING = "missing_day"
    MOVED = "forecast_moved"
    UNSEEN = "plan_never_seen"
    ASSUMED = "plan_assumed"
    ADJUSTMENT = "adjustment_expiry"
    UNUSUAL = "unusual_sales"
    FAILED = "refresh_failed"


@dataclass(frozen=True)
class Reason:
    """One reason: its code, a sentence, and the sales in question."""

    code: Code
    sentence: str
    sales: float


def reasons(facts: StoreFacts, today: date, max_age_days: int) -> list[Reason]:
    """Apply every rule to a store; return its reasons, the largest first.

    Args:
        facts: The store's facts.
        today: The newest day whose sales are known.
        max_age_days: Days that a store's newest sales may lie behind the chain's before all of
            them count as missing.
    """
    found = [
        *_accuracy(facts),
        *_outside(facts),
        *_missing(facts, today, max_age_days),
        *_moved(facts),
        *_unseen(facts),
        *_assumed(facts),
        *_adjustments(facts),
        *_unusual(facts),
        *_failed(facts, today),
    ]
    return sorted(found, key=lambda reason: -reason.sales)


def day_name(day: date) -> str:
    """Return a day as `Fri 19 Jun`."""
    return f"{day:%a} {day.day} {day:%b}"


def _usual_day(facts: StoreFacts) -> float:
    """Return the expected sales of an open day."""
    return float(facts.ahead["sales"]) / max(int(facts.ahead["open_days"]), 1)


def _accuracy(facts: StoreFacts) -> Iterator[Reason]:
    row = facts.accuracy
    if row is None or row["recent_days"] < MIN_RECENT_DAYS or row["past_days"] < MIN_PAST_DAYS:
        return
    recent, past = _ratio(row, "recent"), _ratio(row, "past")
    naive = None
    if row["naive_error"] is not None:
        naive = float(row["naive_error"]) / float(row["recent_sales"])
    if naive is not None and recent > SLIPPED * naive:
        usual, beside = naive, "repeating the same weekday two weeks earlier would have erred by"
    elif recent > SLIPPED * past:
        usual, beside = past, "before that, it was"
    else:
        return
    yield Reason(
        Code.ACCURACY,
        f"Over the last {RECENT_DAYS} days forecasts were off by {_percent(recent)} of sales; "
        f"{beside} {_percent(usual)}.",
        (recent - usual) * float(facts.ahead["sales"]),
    )


def _outside(facts: StoreFacts) -> Iterator[Reason]:
    row = facts.accuracy
    if row is None or row["outside_days"] < MIN_OUTSIDE_DAYS:
        return
    yield Reason(
        Code.OUTSIDE,
        f"Sales of {row['outside_days']} of the last {row['judged_days']} days were outside the "
        f"95 % range, last on {day_name(row['last_outside'])}; at most two are usual.",
        float(row["outside_error"]),
    )


def _missing(facts: StoreFacts, today: date, max_age_days: int) -> Iterator[Reason]:
    origin: date = facts.ahead["origin"]
    silent = (today - origin).days
    if silent > max_age_days:
        yield Reason(
            Code.MISSING,
            f"No sales since {day_name(origin)}, {silent} days behind the chain.",
            silent * _usual_day(facts),
        )
    elif facts.missing is not None:
        days, last = int(facts.missing["days"]), facts.missing["last_day"]
        more = f" and {days - 1} more {_days(days - 1)}" if days > 1 else ""
        yield Reason(
            Code.MISSING,
            f"Sales of {day_name(last)}{more} have not come, although "
            f"{facts.missing['stores_that_came']:,} stores sent theirs.",
            days * _usual_day(facts),
        )


def _moved(facts: StoreFacts) -> Iterator[Reason]:
    moves = {int(row["step"]): row for row in facts.moves if row["before"]}
    newest = moves.pop(0, None)
    if newest is None:
        return
    move = float(newest["after"]) - float(newest["before"])
    share = move / float(newest["before"])
    earlier = [abs(float(row["after"]) / float(row["before"]) - 1) for row in moves.values()]
    if len(earlier) >= MIN_MOVES:
        usual = median(earlier)
        bound, beside = max(MOVED * usual, MIN_MOVE), f"; {_percent(usual)} a week is usual"
    else:
        bound, beside = LARGE_MOVE, ""
    if abs(share) <= bound:
        return
    first, last = newest["first_day"], newest["last_day"]
    yield Reason(
        Code.MOVED,
        f"Expected sales of {_span(first, last)} went {_direction(share)} by "
        f"{_percent(abs(share))} ({_signed(move)}) within a week{beside}.",
        abs(move),
    )


def _unseen(facts: StoreFacts) -> Iterator[Reason]:
    if not facts.unseen:
        return
    first, more = facts.unseen[0], len(facts.unseen) - 1
    also = f" and {more} more {_days(more)}" if more else ""
    yield Reason(
        Code.UNSEEN,
        f"The plan of {day_name(first['date'])}{also} is of a kind that this store has never had: "
        f"{first['date']:%A} {_plan(first)}.",
        sum(float(row["half_width"]) for row in facts.unseen),
    )


def _assumed(facts: StoreFacts) -> Iterator[Reason]:
    days = int(facts.ahead["assumed_days"])
    if not days:
        return
    yield Reason(
        Code.ASSUMED,
        f"{days} of the next {AHEAD_DAYS} days {'has' if days == 1 else 'have'} no plan, the first "
        f"on {day_name(facts.ahead['first_assumed'])}; the usual plan of the weekday is assumed.",
        float(facts.ahead["assumed_half_width"]),
    )


def _adjustments(facts: StoreFacts) -> Iterator[Reason]:
    for row in facts.adjustments:
        what = f"{row['percent']:+g} %" if row["value"] is None else f"{row['value']:,.0f} a day"
        expiry = f"{day_name(row['expires_at'].date())} at {row['expires_at']:%H:%M} UTC"
        ended = (
            f"expired on {expiry}, so the model's number counts again"
            if row["is_expired"]
            else f"expires on {expiry}, before its days are over"
        )
        yield Reason(
            Code.ADJUSTMENT,
            f"The adjustment of {_span(row['first_day'], row['last_day'])} to "
            f"{what} ({row['reason']}, {row['author']}) {ended}.",
            float(row["difference"]),
        )


def _unusual(facts: StoreFacts) -> Iterator[Reason]:
    if not facts.unusual:
        return
    newest, more = facts.unusual[0], len(facts.unusual) - 1
    also = f" (and {more} more {_days(more)})" if more else ""
    usual = _usual_day(facts)
    yield Reason(
        Code.UNUSUAL,
        f"Sales of {day_name(newest['date'])}{also} are {newest['sales']:,}, where some "
        f"{usual:,.0f} are usual; forecasts leave them out until a second event confirms them.",
        sum(abs(row["sales"] - usual) for row in facts.unusual),
    )


def _failed(facts: StoreFacts, today: date) -> Iterator[Reason]:
    if facts.overdue is None or facts.overdue["error"] is None:
        return
    origin: date = facts.ahead["origin"]
    behind = max((today - origin).days, 1)
    yield Reason(
        Code.FAILED,
        "The refresh of this store has failed since "
        f"{facts.overdue['made_at']:%Y-%m-%d %H:%M} UTC: its forecast knows sales up to "
        f"{day_name(origin)} only. Dagster shows the failed run.",
        behind * _usual_day(facts),
    )


def _ratio(row: dict[str, Any], span: str) -> float:
    return float(row[f"{span}_error"]) / float(row[f"{span}_sales"])


def _plan(row: dict[str, Any]) -> str:
    names = {"a": "a public holiday", "b": "Easter", "c": "Christmas"}
    parts = ["with promo" if row["promo"] else "without promo"]
    if row["state_holiday"] in names:
        parts.append(f"on {names[row['state_holiday']]}")
    if row["school_holiday"]:
        parts.append("in school holidays")
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−'}{abs(value):,.0f}"


def _span(first: date, last: date) -> str:
    return day_name(first) if first == last else f"{day_name(first)} to {day_name(last)}"


def _direction(share: float) -> str:
    return "up" if share > 0 else "down"


def _days(count: int) -> str:
    return "day" if count == 1 else "days"
