"""Data of a revision for the tests of later ones: `python -m tests.support.upgrade_data`.

Makes up a small chain, has its models trained and forecasts issued, adds what the stream and
planners write, and stores all of it as tests/data/upgrade/<revision>.dump.xz, with what it holds as
JSON beside it. Run it once for a revision that people have data of; its files are never changed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import tempfile
from datetime import date
from pathlib import Path

import psycopg

from local_stack import paths
from local_stack.backup import programs
from local_stack.backup.contents import read_contents
from local_stack.environment import applied
from local_stack.postgres import NAME as POSTGRES
from local_stack.stack import Stack
from rossmann.sample_data import sample_files
from tests.support.chain import END, chain_on

FOLDER = paths.REPOSITORY / "tests" / "data" / "upgrade"
ORIGIN = date(2015, 6, 12)
#: Few: the pooled model alone takes 240 kB.
STORES, DAYS = 2, 240

#: What the stream and planners write; the ledger balances with it.
ROWS = f"""
INSERT INTO sales.streams (topic, topic_uuid) VALUES ('sales', 'aTopicOfTheStreamBefor');
INSERT INTO sales.raw_sales (stream_id, topic_partition, kafka_offset, event_time, store, date,
    day_of_week, sales, customers, open, promo, state_holiday, school_holiday)
SELECT s.stream_id, 0, store, '2015-06-14 08:00+00', store, '2015-06-13', 6, 4000 + store, 400, 1,
    0, '0', 0
FROM sales.streams s, generate_series(1, {STORES}) store WHERE s.topic = 'sales';
INSERT INTO sales.quarantined_events (stream_id, topic_partition, kafka_offset, event_time, key,
    value, reason, detail)
SELECT stream_id, 0, {STORES + 1}, '2015-06-14 08:00+00', '9', '{{"Store": 9}}', 'missing_field',
    'DayOfWeek' FROM sales.streams WHERE topic = 'sales';
INSERT INTO sales.stream_offsets (stream_id, topic_partition, first_offset, next_offset, stored,
    quarantined, gaps, expired)
SELECT stream_id, 0, 0, {STORES + 3}, {STORES}, 1, 1, 1 FROM sales.streams WHERE topic = 'sales';
INSERT INTO sales.changes (kind, stream_id, topic_partition, from_offset, until_offset, stores,
    first_days)
SELECT 'stream', stream_id, 0, 0, {STORES + 3}, '{{1, 2}}', '{{2015-06-13, 2015-06-13}}'
FROM sales.streams WHERE topic = 'sales';
INSERT INTO sales.adjustments (adjustment_id, store, first_day, last_day, percent, reason, author)
VALUES ('00000000-0000-0000-0000-000000000001', 2, '2015-06-20', '2015-06-21', 10, 'event', 'Ada');
INSERT INTO sales.comments (comment_id, store, date, text, author)
VALUES ('00000000-0000-0000-0000-000000000002', 2, '2015-06-20', 'a fair next door', 'Ada');
INSERT INTO sales.retired_stores (store) VALUES ({STORES});
"""
TOKEN = "INSERT INTO sales.service_tokens (name, digest, scopes) VALUES ('old', %s, '{read}')"
#: Their digits take much room, and there are hundreds of them.
FEWER_TOTALS = "DELETE FROM sales.forecast_totals WHERE last_day > '2015-06-20'"
FORECASTS = """
SELECT store, date::text, round(point::numeric, 6)::text FROM sales.current_forecasts
WHERE horizon IN (1, 7) ORDER BY store, date
"""


def make(folder: Path) -> Path:
    """Make the files of the newest revision; return the dump."""
    with (
        tempfile.TemporaryDirectory() as work,
        Stack.temporary(Path(work) / "stack", {POSTGRES}) as stack,
    ):
        files = Path(work) / "files"
        sample_files(STORES, DAYS, END, seed=3).write(files)
        urls = stack.database_urls("sales")
        with (
            applied({"FORECAST_CHALLENGER": "none"}),
            chain_on(urls, files, f"sqlite:///{work}/mlflow.db", Path(work)) as chain,
        ):
            chain.load(ORIGIN)
            chain.refresh()
            chain.train("2015-06-01")
            chain.refresh()
        with psycopg.connect(urls["OWNER_DATABASE_URL"]) as connection:
            connection.execute(ROWS.encode())
            connection.execute(TOKEN.encode(), (hashlib.sha256(b"an old token").digest(),))
        return store(urls["OWNER_DATABASE_URL"], stack.postgres.files.binaries(), folder)


def store(owner_url: str, postgres_programs: Path, folder: Path) -> Path:
    """Write the files of a database; return the dump."""
    with psycopg.connect(owner_url) as connection:
        connection.execute(FEWER_TOTALS.encode())
        held = read_contents(connection)
        forecasts = connection.execute(FORECASTS.encode()).fetchall()
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f"{held.revision}.dump.xz"
    with tempfile.TemporaryDirectory() as work:
        plain = Path(work) / "plain.dump"
        programs.dump(postgres_programs, owner_url, plain, ["--schema=sales", "--compress=none"])
        # As a whole: each table has hundreds of alike entries in the dump's list.
        dump.write_bytes(lzma.compress(plain.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    description = {"rows": held.rows, "forecasts": forecasts}
    (folder / f"{held.revision}.json").write_text(json.dumps(description) + "\n")
    return dump


if __name__ == "__main__":
    made = make(FOLDER)
    print(f"{made}: {made.stat().st_size / 1000:.0f} kB")  # noqa: T201
