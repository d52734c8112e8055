"""What the pages say in whole sentences: how good forecasts were, and what changed."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

#: The causes of a change, in the order in which they are told, and what each is called.
CAUSES = (
    ("plan", "a changed plan"),
    ("sales", "newer sales"),
    ("model", "a new model"),
)
#: What is said of a store before any of its forecasts can be judged.
NOTHING_JUDGED = (
    "No forecast of this store has met a day with sales yet, so how good they are is not known."
)
#: Sales below which a part of a change is not worth a word, as a share of the forecast.
_SMALL = 0.0005


def day_name(day: date, year: int | None = None) -> str:
    """Return a day like `Fri 19 Jun`, or `Fri 19 Jun 2015` if it is of another year.

    Args:
        day: The day.
        year: The year that goes without saying; None if every one does.
    """
    name = f"{day:%a} {day.day} {day:%b}"
    return name if year in (None, day.year) else f"{name} {day.year}"


def days_ahead(lead_week: int) -> str:
    """Return which days a week of lead time covers: `8 to 14 days ahead`."""
    return f"{7 * lead_week - 6} to {7 * lead_week} days ahead"


def accuracy(report: Mapping[str, Any]) -> str:
    """Return how good a store's forecasts were, in one sentence.

    Args:
        report: What `/v1/accuracy` returns for the store, each item with `judged`: the days with
            sales that the item measures, as in `warehouse.service.judged`; None without one.
    """
    week = report["items"][0] if report["items"] else None
    if week is None or week["wape"] is None or week["judged"] is None:
        return NOTHING_JUDGED
    judged = week["judged"]
    number, year = int(judged["days"]), report["last_day"].year
    first, last = (day_name(judged[name], year) for name in ("first_day", "last_day"))
    when = f"On {first}" if number == 1 else f"On {number:,} days with sales from {first} to {last}"
    subject = "forecasts" if report["kind"] == "issued" else "forecasts made afterwards"
    said = (
        f"{when}, {subject} made {days_ahead(week['lead_week'])} were off by "
        f"{_percent(week['wape'])} of sales on average"
    )
    if week["naive_wape"] is not None:
        said += (
            f", against {_percent(week['naive_wape'])} by repeating the same weekday of two weeks "
            "earlier"
        )
    if week["coverage_80"] is not None:
        forecasts = int(judged["forecasts"])
        inside = round(week["coverage_80"] * forecasts)
        of = "1 forecast" if forecasts == 1 else f"{forecasts:,} forecasts"
        said += f"; sales fell inside the 80 % range of {inside:,} of {of}"
    return said + "."


def changed(change: Mapping[str, Any]) -> str:
    """Return what changed in a store's forecast, in one or two sentences.

    Args:
        change: A store of what `/v1/changes` returns.
    """
    since = day_name(change["earlier_origin"], change["origin"].year)
    days = len(change["days"])
    size = abs(change["change"])
    if size <= _SMALL * max(change["before"], 1.0):
        said = f"Nothing has changed in the next {days} days since the forecast of {since}."
    else:
        direction = "more" if change["change"] > 0 else "less"
        share = f" ({_percent(size / change['before'])})" if change["before"] else ""
        said = (
            f"The daily forecasts of the next {days} days add up to {size:,.0f} {direction}{share} "
            f"than in the forecast of {since}."
        )
    if change["plan"] is None:
        return f"{said} The causes are not known: the earlier model cannot be read any more."
    parts = [
        f"{words} {_signed(change[name])}"
        for name, words in CAUSES
        if abs(change[name]) > _SMALL * max(change["before"], 1.0)
    ]
    return f"{said} Causes: {_listed(parts)}." if parts else said


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−'}{abs(value):,.0f}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
