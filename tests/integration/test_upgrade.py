"""Data of earlier versions: migrations go forward on them, and the newest code reads them."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from local_stack.backup import programs
from local_stack.backup.contents import read_contents
from local_stack.backup.saving import DUMP_OPTIONS
from local_stack.schema import known_revisions, migrate
from local_stack.stack import Stack
from streaming_job.audit import audit
from tests.support.upgrade_data import FOLDER, FORECASTS
from warehouse import models
from warehouse.connection import Warehouse

#: Rows as the first revision allows them; every offset is accounted for.
FIRST_ROWS = """
SELECT sales.ensure_months('2015-05-01', '2015-06-30');
INSERT INTO sales.streams (topic, topic_uuid) VALUES ('sales', 'aFirstTopic'), ('file:abc', '');
INSERT INTO sales.stores (store, store_type, assortment, promo2) VALUES (1, 'a', 'a', 0),
    (2, 'b', 'c', 1);
INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, store, date,
    day_of_week, sales, customers, open, promo, state_holiday, school_holiday)
VALUES (1, 0, 5, '2015-06-01 09:00+00', 1, '2015-05-31', 7, 0, 0, 0, 0, '0', 0),
    (1, 0, 7, '2015-06-02 09:00+00', 1, '2015-06-01', 1, 5200, 610, 1, 1, '0', 0),
    (1, 1, 0, '2015-06-02 09:00+00', 2, '2015-06-03', 3, NULL, NULL, 1, 1, '0', 1),
    (2, 0, 0, '2015-06-01 09:00+00', 2, '2015-05-30', 6, 3100, 402, 1, 0, '0', 0);
INSERT INTO sales.quarantined_events (stream_id, topic_partition, kafka_offset, event_time, value,
    reason) VALUES (1, 0, 6, '2015-06-01 09:00+00', 'nonsense', 'not_json');
INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, next_offset, stored,
    quarantined, gaps, expired)
VALUES (1, 0, 5, 10, 2, 1, 1, 1), (1, 1, 0, 1, 1, 0, 0, 0), (2, 0, 0, 1, 1, 0, 0, 0);
INSERT INTO sales.changes (kind, stream_id, topic_partition, from_offset, until_offset, stores,
    first_days) VALUES ('stream', 1, 0, 5, 10, '{1}', '{2015-05-31}');
INSERT INTO sales.planned_days VALUES
    (2, '2015-06-03', 1, 1, '0', 1, '2015-06-02 09:00+00');
"""
TABLES = (
    "streams",
    "stores",
    "raw_sales",
    "quarantined_events",
    "stream_offsets",
    "changes",
    "planned_days",
)


def migrated(urls: dict[str, str], folder: Path, to: str = "head") -> None:
    migrate(urls["OWNER_DATABASE_URL"], folder, folder / "migrations.log", to=to)


def test_rows_of_the_first_revision_reach_the_newest(
    fresh_database: dict[str, str], tmp_path: Path
) -> None:
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"], autocommit=True) as owner:
        owner.execute("DROP SCHEMA sales CASCADE")
    migrated(fresh_database, tmp_path, known_revisions()[0])

    def rows(connection: psycopg.Connection, columns: dict[str, str]) -> dict[str, list[object]]:
        return {
            table: list(
                connection.execute(f"SELECT {columns[table]} FROM sales.{table} ORDER BY 1, 2, 3")
            )
            for table in TABLES
        }

    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute(FIRST_ROWS.encode())
        columns = {
            table: ", ".join(
                row[0]
                for row in owner.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass "
                    "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                    (f"sales.{table}",),
                )
            )
            for table in TABLES
        }
        before = rows(owner, columns)
    assert all(before.values())

    migrated(fresh_database, tmp_path)
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as owner:
        assert rows(owner, columns) == before
        assert read_contents(owner).revision == known_revisions()[-1]
    report = audit(fresh_database["STREAM_DATABASE_URL"])
    assert report.faults == []
    assert sum(one.raw_rows for one in report.partitions) == 4
    # The months of then and those of now are alike.
    with psycopg.connect(fresh_database["STREAM_DATABASE_URL"]) as stream:
        stream.execute("SELECT sales.ensure_months('2015-05-01', '2015-08-31')")
        stream.execute(
            "INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, "
            "store, date, day_of_week, sales, customers, open, promo, state_holiday, "
            "school_holiday) SELECT 1, 0, 10, now(), 1, day, 1, 1, 1, 1, 0, '0', 0 "
            "FROM unnest('{2015-05-04, 2015-08-03}'::date[]) day"
        )


@pytest.fixture(params=sorted(path.name.split(".")[0] for path in FOLDER.glob("*.dump.xz")))
def earlier(
    request: pytest.FixtureRequest,
    stack: Stack,
    fresh_database: dict[str, str],
    tmp_path: Path,
) -> Iterator[tuple[dict[str, str], dict[str, object]]]:
    """A database with an earlier revision's data, migrated, and what it held before."""
    revision: str = request.param
    held = json.loads((FOLDER / f"{revision}.json").read_text())
    owner_url = fresh_database["OWNER_DATABASE_URL"]
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("DROP SCHEMA sales CASCADE")
    with lzma.open(FOLDER / f"{revision}.dump.xz") as file:
        programs.restore(stack.postgres.files.binaries(), owner_url, file, [])
    with psycopg.connect(owner_url) as owner:
        assert read_contents(owner).rows == held["rows"]
        assert read_contents(owner).revision == revision
    migrated(fresh_database, tmp_path)
    yield fresh_database, held


def test_there_is_data_of_an_earlier_revision() -> None:
    dumps = list(FOLDER.glob("*.dump.xz"))
    assert dumps
    # A pooled model alone takes 240 kB.
    assert all(dump.stat().st_size < 320_000 for dump in dumps)
    assert "--no-owner" not in DUMP_OPTIONS["sales"], "rights belong to the data"


def test_an_earlier_revisions_data_are_kept_and_balance(
    earlier: tuple[dict[str, str], dict[str, dict[str, int]]],
) -> None:
    urls, held = earlier
    with psycopg.connect(urls["OWNER_DATABASE_URL"]) as owner:
        now = read_contents(owner)
    assert now.revision == known_revisions()[-1]
    assert {table: now.rows.get(table) for table in held["rows"]} == held["rows"]
    assert audit(urls["STREAM_DATABASE_URL"]).faults == []


def test_an_earlier_revisions_forecasts_models_and_tokens_are_read(
    earlier: tuple[dict[str, str], dict[str, list[list[object]]]],
) -> None:
    urls, held = earlier
    with psycopg.connect(urls["READER_DATABASE_URL"]) as reader:
        forecasts = reader.execute(FORECASTS.encode()).fetchall()
        assert [list(row) for row in forecasts] == held["forecasts"]
        digest = hashlib.sha256(b"an old token").digest()
        granted = reader.execute("SELECT * FROM sales.token_scopes(%s)", (digest,)).fetchall()
        assert granted == [("old", ["read"])]
        adjusted = reader.execute("SELECT percent FROM sales.adjustments_in_force").fetchall()
        assert adjusted == [(10.0,)]
    with Warehouse(urls["READER_DATABASE_URL"]).transaction() as transaction:
        champion = models.champion(transaction)
        # A format that has changed since means to train anew, and no error.
        assert (champion is None) == (models.count_pooled(transaction) == 0)
        assert transaction.value("SELECT count(*) FROM sales.pooled_models") == 1
    assert date.fromisoformat(str(held["forecasts"][0][1])) == date(2015, 6, 13)
