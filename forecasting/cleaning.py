"""The rule that turns events, corrections and plans into one row per store and date.

The rule depends only on the events' own fields, never on their order of arrival. `streaming_job`
has already quarantined the invalid events.
"""

from __future__ import annotations

import pandas as pd

from forecasting.columns import DAY_COLUMNS

#: Fields that order the events of one store and date, most important first. The last event wins.
EVENT_ORDER = ("event_time", "topic", "topic_partition", "kafka_offset")

_KEY = ["store", "date"]


def _winners(events: pd.DataFrame) -> pd.DataFrame:
    ordered = events.sort_values([*_KEY, *EVENT_ORDER], kind="stable")
    return ordered.drop_duplicates(_KEY, keep="last").reset_index(drop=True)


def winning_events(events: pd.DataFrame) -> pd.DataFrame:
    """Return the winning sale of each store and date.

    Args:
        events: One row per delivered event, with the columns of the day panel and topic,
            topic_partition, kafka_offset, event_time. An event whose `sales` is NaN is a plan
            and is ignored.

    Returns:
        One row per store and date with a sale, sorted: the event with the latest event time,
        ties broken by topic, topic-partition and offset. It has the columns of `events`, and
        `corrections` (int32), the number of sales that it superseded.
    """
    sales = events[events["sales"].notna()]
    counts = sales.groupby(_KEY, sort=False).size().sub(1).rename("corrections").reset_index()
    winners = _winners(sales).merge(counts, on=_KEY, how="left")
    return winners.astype({"corrections": "int32"})


def plans(events: pd.DataFrame) -> pd.DataFrame:
    """Return the winning plan of each store and date.

    Args:
        events: As for `winning_events`; events with sales are ignored.

    Returns:
        One row per store and date with a plan, with the same rule for the winner.
    """
    return _winners(events[events["sales"].isna()])


def days_of(winners: pd.DataFrame) -> pd.DataFrame:
    """Reduce winning events to the columns of the day panel.

    Args:
        winners: Result of `winning_events` or `plans`.

    Returns:
        The day panel, sorted by store and date, with a fresh index.
    """
    return winners[list(DAY_COLUMNS)].sort_values(_KEY).reset_index(drop=True)
