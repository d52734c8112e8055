"""Which event wins: from delivered events to one row a store and date.

Here belongs the rule that turns events, corrections and plans into days. It depends on the
events' own fields only, never on the order in which they arrived.
"""

from __future__ import annotations

import pandas as pd

from forecasting.columns import DAY_COLUMNS

#: What decides between two events of one store and date, most important first.
EVENT_ORDER = ("event_time", "topic", "topic_partition", "kafka_offset")

_KEY = ["store", "date"]


def _winners(events: pd.DataFrame) -> pd.DataFrame:
    ordered = events.sort_values([*_KEY, *EVENT_ORDER], kind="stable")
    return ordered.drop_duplicates(_KEY, keep="last").reset_index(drop=True)


def winning_events(events: pd.DataFrame) -> pd.DataFrame:
    """Choose the sale that counts for each store and date.

    Args:
        events: One row a delivered event, with the columns of the day panel and topic,
            topic_partition, kafka_offset, event_time. An event whose ``sales`` is NaN is a plan
            and is ignored here.

    Returns:
        One row for each store and date that has a sale: the event with the latest event time,
        ties broken by topic, topic-partition and offset, sorted by store and date. The columns
        are those of ``events`` and ``corrections`` (int32): how many sales it superseded.
    """
    sales = events[events["sales"].notna()]
    counts = sales.groupby(_KEY, sort=False).size().sub(1).rename("corrections").reset_index()
    winners = _winners(sales).merge(counts, on=_KEY, how="left")
    return winners.astype({"corrections": "int32"})


def plans(events: pd.DataFrame) -> pd.DataFrame:
    """Choose the plan that counts for each store and date.

    Args:
        events: As for :func:`winning_events`; only events without sales are looked at.

    Returns:
        One row for each store and date that has a plan, chosen by the same order.
    """
    return _winners(events[events["sales"].isna()])


def days_of(winners: pd.DataFrame) -> pd.DataFrame:
    """Reduce winning events to the columns of the day panel.

    Args:
        winners: Result of :func:`winning_events` or :func:`plans`.

    Returns:
        The day panel, sorted by store and date, with a fresh index.
    """
    return winners[list(DAY_COLUMNS)].sort_values(_KEY).reset_index(drop=True)
