"""Tests of cleaning: the winning event does not depend on the order of arrival."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.cleaning import days_of, plans, winning_events
from forecasting.columns import DAY_COLUMNS

_EVENT = st.fixed_dictionaries(
    {
        "store": st.integers(1, 3),
        "day": st.integers(0, 2),
        "sales": st.one_of(st.none(), st.integers(0, 5).map(float)),
        "second": st.integers(0, 2),
        "topic": st.sampled_from(["file:a", "sales"]),
        "topic_partition": st.integers(0, 1),
    }
)


def _frame(events: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(events, columns=list(_EVENT_KEYS))
    return pd.DataFrame(
        {
            "store": frame["store"].astype(np.int32),
            "date": pd.Timestamp("2015-06-01") + pd.to_timedelta(frame["day"].astype(int), "D"),
            "day_of_week": np.int16(1),
            "sales": frame["sales"].astype(float),
            "customers": np.nan,
            "open": np.int16(1),
            "promo": np.int16(0),
            "state_holiday": "0",
            "school_holiday": np.int16(0),
            "topic": frame["topic"].astype(str),
            "topic_partition": frame["topic_partition"].astype(int),
            "kafka_offset": np.arange(len(frame)),
            "event_time": pd.Timestamp("2015-06-05", tz="UTC")
            + pd.to_timedelta(frame["second"].astype(int), "s"),
        }
    )


_EVENT_KEYS = ("store", "day", "sales", "second", "topic", "topic_partition")


@settings(max_examples=60, deadline=None)
@given(st.lists(_EVENT, max_size=20), st.randoms(use_true_random=False))
def test_winners_do_not_depend_on_order(events: list[dict[str, object]], random: object) -> None:
    frame = _frame(events)
    order = list(range(len(frame)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = frame.iloc[order]
    pd.testing.assert_frame_equal(winning_events(shuffled), winning_events(frame))
    pd.testing.assert_frame_equal(plans(shuffled), plans(frame))


@settings(max_examples=60, deadline=None)
@given(st.lists(_EVENT, max_size=20))
def test_winner_is_the_latest_sale_and_counts_add_up(events: list[dict[str, object]]) -> None:
    frame = _frame(events)
    winners = winning_events(frame)
    sales = frame[frame["sales"].notna()]
    assert len(winners) + winners["corrections"].sum() == len(sales)
    for row in winners.itertuples():
        mine = sales[(sales["store"] == row.store) & (sales["date"] == row.date)]
        best = max(
            mine.itertuples(),
            key=lambda e: (e.event_time, e.topic, e.topic_partition, e.kafka_offset),
        )
        assert best.kafka_offset == row.kafka_offset and best.topic == row.topic


def test_a_plan_never_replaces_a_sale() -> None:
    base = {"store": 1, "day": 0, "topic": "sales", "topic_partition": 0}
    frame = _frame([{**base, "sales": 5.0, "second": 0}, {**base, "sales": None, "second": 2}])
    assert winning_events(frame)["sales"].tolist() == [5.0]
    assert plans(frame)["kafka_offset"].tolist() == [1]
    assert tuple(days_of(winning_events(frame)).columns) == DAY_COLUMNS


@settings(max_examples=60, deadline=None)
@given(st.lists(_EVENT, max_size=20), st.lists(st.integers(0, 19), max_size=5), st.data())
def test_topic_partitions_and_duplicates_change_no_cleaned_day(
    events: list[dict[str, object]], duplicated: list[int], data: st.DataObject
) -> None:
    once = _frame(events)
    # A duplicate has the same event time, even if it lands in another topic-partition.
    once["event_time"] += pd.to_timedelta(np.arange(len(once)), "ms")
    again = once.iloc[[k for k in duplicated if k < len(once)]]
    sent = pd.concat([once, again]).iloc[data.draw(st.permutations(range(len(once) + len(again))))]
    landed = data.draw(st.lists(st.integers(0, 3), min_size=len(sent), max_size=len(sent)))
    sent = sent.assign(topic_partition=landed, kafka_offset=range(len(sent)))
    pd.testing.assert_frame_equal(days_of(winning_events(sent)), days_of(winning_events(once)))
    pd.testing.assert_frame_equal(days_of(plans(sent)), days_of(plans(once)))
