"""What the health rules see in a real database, through the checks that people look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from typer.testing import CliRunner

from forecast_assets.commands.main import app
from forecast_assets.planning.alert_messages import Rule
from forecast_assets.settings import settings
from forecast_assets.steps.health import find_problems
from local_stack.data_status import describe_data
from local_stack.stack import Stack
from streaming_job.withdraw import withdraw
from tests.support.chain import CALENDAR, STORES, Chain
from warehouse.errors import NotFoundError


def checks(chain: Chain) -> Mapping[str, dg.AssetCheckEvaluation]:
    result = chain.repository.get_job("freshness").execute_in_process(instance=chain.instance)
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def failed(chain: Chain) -> dict[str, str]:
    return {name: str(c.description) for name, c in checks(chain).items() if not c.passed}


@pytest.fixture
def owner(forecast_chain: Chain, forecast_database: dict[str, str]) -> psycopg.Connection:
    del forecast_chain
    return psycopg.connect(forecast_database["OWNER_DATABASE_URL"], autocommit=True)


def test_a_fresh_chain_has_no_problem(forecast_chain: Chain) -> None:
    with forecast_chain.warehouse.transaction() as transaction:
        assert find_problems(transaction, settings()) == []
    found = checks(forecast_chain)
    assert all(check.passed for check in found.values())
    assert len(found) == 6


def test_the_stream_says_through_the_database_how_it_is(
    forecast_chain: Chain, owner: psycopg.Connection
) -> None:
    owner.execute(
        "INSERT INTO sales.stream_heartbeats (topic, state, beat_at) "
        "VALUES ('sales', 'running', now() - interval '1 hour')"
    )
    assert "is dead" in failed(forecast_chain)["stream_runs"]
    owner.execute("UPDATE sales.stream_heartbeats SET beat_at = now()")
    assert failed(forecast_chain) == {}
    owner.execute(
        "UPDATE sales.stream_heartbeats SET starts = array_fill(now() - interval '1 min', '{5}')"
    )
    assert "started 5 times" in failed(forecast_chain)["stream_runs"]


def test_corrections_that_do_not_count_are_told_until_somebody_settles_them(
    forecast_chain: Chain, owner: psycopg.Connection, forecast_database: dict[str, str]
) -> None:
    assert checks(forecast_chain)["corrections_count"].passed
    owner.execute(
        """
        INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, store,
            date, day_of_week, sales, customers, open, promo, state_holiday, school_holiday)
        SELECT stream_id, 7, 0, event_time - interval '1 hour', store, date, day_of_week, 17,
            customers, open, promo, state_holiday, school_holiday
        FROM sales.raw_sales WHERE store = 2 AND date = '2015-06-12';
        INSERT INTO sales.outdated_corrections
        SELECT r.stream_id, 7, 0, r.store, r.date, r.event_time - interval '1 hour', 17, now(),
            s.topic, 0, r.kafka_offset, r.event_time, r.sales
        FROM sales.raw_sales r JOIN sales.streams s USING (stream_id)
        WHERE r.store = 2 AND r.date = '2015-06-12' AND r.topic_partition = 0
        """
    )
    told = failed(forecast_chain)["corrections_count"]
    assert "sent before what they correct: 1 (store 2 on 2015-06-12: 17 sent 2015-06-11 23" in told
    with forecast_chain.warehouse.transaction() as transaction:
        assert [p.rule for p in find_problems(transaction, settings())] == [Rule.OUTDATED]
    day = datetime(2015, 6, 12, tzinfo=UTC).date()
    withdraw(forecast_database["STREAM_DATABASE_URL"], 2, day, "17 is right")
    assert "corrections_count" not in failed(forecast_chain)


def test_a_day_of_bad_events_is_noticed_and_older_ones_are_not(
    forecast_chain: Chain, owner: psycopg.Connection
) -> None:
    insert = (
        """
        INSERT INTO sales.quarantined_events
            (stream_id, topic_partition, kafka_offset, event_time, ingest_time, reason)
        SELECT 1, 7, n, now(), now() - $1::interval, 'unknown_store' FROM generate_series($2::int,
            $3::int) AS n
    """.replace("$1", "%s")
        .replace("$2", "%s")
        .replace("$3", "%s")
    )
    owner.execute(
        """
        INSERT INTO sales.streams (topic, topic_uuid) VALUES ('sales', 'x');
        INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, store,
            date, day_of_week, sales, customers, open, promo, state_holiday, school_holiday)
        SELECT (SELECT max(stream_id) FROM sales.streams), 0, n, now(), 1, '2015-06-01', 1, 5, 1,
            1, 0, '0', 0
        FROM generate_series(1, 90) AS n;
        INSERT INTO sales.stream_offsets
            (stream_id, topic_partition, first_offset, next_offset, stored)
        SELECT max(stream_id), 0, 1, 91, 90 FROM sales.streams
        """
    )
    owner.execute(insert, ("3 days", 1, 50))
    assert "few_quarantined" not in failed(forecast_chain)
    owner.execute(insert, ("1 hour", 51, 60))
    assert "10 of the last day's 100 events" in failed(forecast_chain)["few_quarantined"]


def test_models_that_cannot_be_read_make_forecasts_old(
    forecast_chain: Chain, owner: psycopg.Connection
) -> None:
    owner.execute("UPDATE sales.pooled_models SET format = 'of another version'")
    owner.execute("UPDATE sales.refreshes SET finished_at = now() - interval '1 hour'")
    assert "no pooled model can be read" in failed(forecast_chain)["fresh"]


def test_sales_that_no_forecast_has_seen_are_noticed_without_an_open_change(
    forecast_chain: Chain, owner: psycopg.Connection
) -> None:
    forecast_chain.load_day(datetime(2015, 6, 13, tzinfo=UTC).date())
    owner.execute("UPDATE sales.changes SET done_at = now()")
    owner.execute("UPDATE sales.refreshes SET finished_at = now() - interval '1 hour'")
    assert f"older than their sales: {STORES}" in failed(forecast_chain)["fresh"]


def test_a_live_chain_misses_the_day_that_does_not_come_and_the_store_that_is_silent(
    forecast_chain: Chain, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's days are moved so that they came one by one, the last of them a week ago."""
    monkeypatch.setenv("SALES_CALENDAR_END", "")
    settings.cache_clear()
    today = datetime.now(UTC).date()
    shift = (today - timedelta(days=7)) - datetime(2015, 6, 12, tzinfo=UTC).date()
    first, last = today - timedelta(days=70), today
    owner.execute("SELECT sales.ensure_months(%s, %s)", (first, last))
    for store in range(1, STORES + 1):
        owner.execute(
            """
            INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time,
                ingest_time, store, date, day_of_week, sales, customers, open, promo,
                state_holiday, school_holiday)
            SELECT stream_id, 9, kafka_offset, event_time,
                (date + %(shift)s)::timestamptz + interval '22 hours', store, date + %(shift)s,
                day_of_week, sales, customers, open, promo, state_holiday, school_holiday
            FROM sales.raw_sales
            WHERE store = %(store)s AND date BETWEEN '2015-04-20'
                AND date '2015-06-12' - %(silent)s
            """,
            {"shift": shift.days, "store": store, "silent": 10 if store == 3 else 0},
        )
    found = failed(forecast_chain)["sales_arrive"]
    assert "sales of 6 days have not come" in found or "sales of 5 days have not come" in found
    assert "stores without recent sales: 1 (store 3 since" in found

    retired = CliRunner().invoke(app, ["retire", "--store", "3"])
    assert retired.exit_code == 0, retired.output
    assert "store 3" not in failed(forecast_chain)["sales_arrive"]
    assert CliRunner().invoke(app, ["retire", "--store", "3", "--undo"]).exit_code == 0
    assert "store 3" in failed(forecast_chain)["sales_arrive"]
    unknown = CliRunner().invoke(app, ["retire", "--store", "3", "--store", "999"])
    assert isinstance(unknown.exception, NotFoundError) and "999" in str(unknown.exception)
    assert "store 3" in failed(forecast_chain)["sales_arrive"], "none of them is retired"


def send_again(owner: psycopg.Connection, store: int, day: str) -> None:
    """Store the newest event of a store and day once more, as a second one with the same sales."""
    owner.execute(
        """
        INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, store,
            date, day_of_week, sales, customers, open, promo, state_holiday, school_holiday)
        SELECT stream_id, 7, 0, event_time + interval '1 hour', store, date, day_of_week, sales,
            customers, open, promo, state_holiday, school_holiday
        FROM sales.raw_sales WHERE store = %(store)s AND date = %(day)s
        ORDER BY event_time DESC LIMIT 1
        """,
        {"store": store, "day": day},
    )
    owner.execute(
        "INSERT INTO sales.stream_offsets "
        "(stream_id, topic_partition, first_offset, next_offset, stored) "
        "SELECT stream_id, 7, 0, 1, 1 FROM sales.raw_sales WHERE topic_partition = 7"
    )
    owner.execute(
        "INSERT INTO sales.changes (kind, stores, first_days) "
        "VALUES ('stream', ARRAY[%(store)s], ARRAY[%(day)s::date])",
        {"store": store, "day": day},
    )


def test_sales_a_hundred_times_their_usual_size_count_once_somebody_confirms_them(
    forecast_chain: Chain, owner: psycopg.Connection
) -> None:
    chain, day = forecast_chain, "2015-06-11"
    points = "SELECT sum(point) AS total FROM sales.current_forecasts WHERE store = 2 AND open = 1"
    logs = f"SELECT log_sales FROM sales.features WHERE store = 2 AND date = '{day}'"
    before = chain.frame(points)["total"].item()

    wrong = datetime(2016, 1, 1, tzinfo=UTC)
    chain.load(datetime(2015, 6, 12, tzinfo=UTC).date(), as_of=wrong, s2_2015_06_11=100)
    result = chain.refresh()
    ignored = chain.frame(points)["total"].item()
    assert abs(ignored / before - 1) < 0.01
    assert chain.frame(logs)["log_sales"].isna().all()
    assert "1 (store 2 on 2015-06-11:" in failed(chain)["usual_size"]
    records = chain.instance.get_records_for_run(
        result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    marked = {
        event.partition: event.metadata["unusual_sales"].value
        for record in records
        if (event := record.event_log_entry.asset_materialization) is not None
        and event.asset_key == dg.AssetKey("cleaned_sales")
    }
    assert {key for key, count in marked.items() if count} == {"2015-06-01|2"}

    send_again(owner, 2, day)
    chain.refresh()
    assert chain.frame(logs)["log_sales"].notna().all()
    # One strange day is no new level, so it moves the forecast by little.
    assert abs(chain.frame(points)["total"].item() / ignored - 1) > 0.01, "now it counts"
    assert "usual_size" not in failed(chain)


def test_sales_of_an_unusual_size_count_at_once_if_the_settings_say_so(
    forecast_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_UNUSUAL_FACTOR", "none")
    settings.cache_clear()
    chain = forecast_chain
    wrong = datetime(2016, 1, 1, tzinfo=UTC)
    chain.load(datetime(2015, 6, 12, tzinfo=UTC).date(), as_of=wrong, s2_2015_06_11=100)
    chain.refresh()
    logs = chain.frame(
        "SELECT log_sales FROM sales.features WHERE store = 2 AND date = '2015-06-11'"
    )
    assert logs["log_sales"].notna().all()
    assert "usual_size" not in failed(chain)


def test_make_status_says_what_the_data_are(
    stack: Stack,
    forecast_chain: Chain,
    forecast_database: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del forecast_chain
    monkeypatch.setattr(stack, "database_urls", lambda _database: forecast_database)
    lines = describe_data(stack, CALENDAR[1])
    assert lines[0] == f"sales: {STORES} stores, newest day 2015-06-12"
    assert lines[1].startswith(
        f"forecasts: newest origin 2015-06-12, {STORES} of {STORES} stores forecast from it"
    )
    assert lines[2].startswith("changes: 0 open; last refresh ")
    assert lines[3:] == ["nothing is wrong with the data"]
