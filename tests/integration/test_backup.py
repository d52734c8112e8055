"""A backup is one snapshot; a restore brings it back, or leaves what is there as it is."""

from __future__ import annotations

import json
import tarfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psycopg
import pytest
from kafka import TopicPartition

from local_stack import kafka, stream
from local_stack.backup import archive as archives
from local_stack.backup.embedded import restore_stack, save_stack
from local_stack.backup.restoring import NEW, OLD, Target, restore
from local_stack.backup.saving import Addresses, save
from local_stack.errors import StackError
from local_stack.postgres_data import SUPERUSER
from local_stack.postgres_roles import create_database, read_access
from local_stack.schema import known_revisions, migrate
from local_stack.stack import TOPIC, Stack
from local_stack.stream import NAME as STREAM
from streaming_job import producer
from streaming_job.audit import audit, deep_audit
from streaming_job.settings import StreamSettings
from tests.faults import sender
from tests.faults.world import STORES, eventually
from tests.unit.streaming_job import mutations

CALENDAR = (mutations.FIRST, mutations.LAST)


@pytest.fixture
def target(stack: Stack, fresh_database: dict[str, str], tmp_path: Path) -> Iterator[Target]:
    """Three databases of the test's own, one with sales, and an artifact."""
    names = {name: f"{name}_{uuid.uuid4().hex[:12]}" for name in ("dagster", "mlflow")}
    with stack.postgres.admin_connection() as admin:
        for name, database in names.items():
            create_database(admin, database, read_access().databases[name])
    (tmp_path / "artifacts" / "1").mkdir(parents=True)
    (tmp_path / "artifacts" / "1" / "model").write_bytes(b"as it was")
    made = Target(
        Addresses(
            fresh_database["OWNER_DATABASE_URL"],
            *(stack.postgres.url(name, database) for name, database in names.items()),
        ),
        stack.postgres.url(SUPERUSER, "postgres"),
        stack.postgres.files.binaries(),
        tmp_path / "artifacts",
        tmp_path / "migrations.log",
    )
    with psycopg.connect(made.addresses.sales) as connection:
        connection.execute(
            "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
            "SELECT number, 'a', 'a', 0 FROM generate_series(1, 5) number"
        )
    with psycopg.connect(made.addresses.dagster) as connection:
        connection.execute("CREATE TABLE runs AS SELECT 1 AS id")
    with psycopg.connect(made.addresses.mlflow) as connection:
        connection.execute("CREATE TABLE runs AS SELECT 2 AS id")
    yield made
    for name in ("sales", *names):
        for suffix in ("", NEW, OLD):
            # The fixture of the sales database drops its own.
            if (name, suffix) != ("sales", ""):
                stack.postgres.drop_database(made.database(name) + suffix)


@pytest.fixture
def archive(target: Target, tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar"
    save(path, target.addresses, target.programs, {"artifacts": target.artifacts})
    return path


def stores(target: Target) -> int:
    with psycopg.connect(target.addresses.sales) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM sales.stores").fetchall()
    return int(count)


def databases(target: Target) -> set[str]:
    with psycopg.connect(target.admin) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    mine = {target.database(name) for name in archives.DATABASES}
    return {row[0] for row in rows if any(row[0].startswith(name) for name in mine)} - mine


def test_a_restore_replaces_rows_and_files_when_told_to(target: Target, archive: Path) -> None:
    with psycopg.connect(target.addresses.sales) as connection:
        connection.execute("DELETE FROM sales.stores WHERE store > 2")
    (target.artifacts / "1" / "model").unlink()
    with pytest.raises(StackError, match=r"holds rows \(sales.stores\).*REPLACE=1"):
        restore(archive, target, replace=False, say=print)
    assert stores(target) == 2
    said: list[str] = []
    manifest = restore(archive, target, replace=True, say=said.append)
    assert stores(target) == 5
    assert manifest.rows["stores"] == 5
    assert (target.artifacts / "1" / "model").read_bytes() == b"as it was"
    assert any("the ledger balances" in line for line in said)
    assert databases(target) == set()
    with psycopg.connect(target.addresses.mlflow) as connection:
        assert connection.execute("SELECT id FROM runs").fetchall() == [(2,)]


def test_the_roles_keep_their_rights_and_get_no_others(
    target: Target, archive: Path, fresh_database: dict[str, str]
) -> None:
    def rights() -> list[tuple[object, ...]]:
        with psycopg.connect(target.addresses.sales) as connection:
            return connection.execute(
                "SELECT relname::text, relowner::regrole::text, relacl::text FROM pg_class "
                "WHERE relnamespace = 'sales'::regnamespace "
                "UNION ALL SELECT proname::text, proowner::regrole::text, proacl::text "
                "FROM pg_proc WHERE pronamespace = 'sales'::regnamespace "
                "OR proname LIKE 'pg_advisory%%' OR proname = 'lo_put' ORDER BY 1, 2, 3"
            ).fetchall()

    before = rights()
    restore(archive, target, replace=True, say=print)
    assert rights() == before
    with psycopg.connect(fresh_database["READER_DATABASE_URL"]) as reader:
        assert reader.execute("SELECT count(*) FROM sales.stores").fetchone() == (5,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM sales.stores")


def test_databases_in_use_are_not_replaced(target: Target, archive: Path) -> None:
    with (
        psycopg.connect(target.addresses.dagster, application_name="a daemon"),
        pytest.raises(StackError, match=r"in use \(a daemon in dagster_"),
    ):
        restore(archive, target, replace=True, say=print)
    assert databases(target) == set()


def rewritten(archive: Path, path: Path, **changes: object) -> Path:
    """Write an archive again with another manifest."""
    manifest = asdict(replace(archives.verify(archive), **changes))  # type: ignore[arg-type]
    with tarfile.open(archive) as old, tarfile.open(path, "w") as new:
        for entry in old:
            if entry.name != archives.MANIFEST:
                new.addfile(entry, old.extractfile(entry))
        (path.parent / "manifest").write_text(json.dumps(manifest))
        new.add(path.parent / "manifest", archives.MANIFEST)
    return path


def test_a_newer_schema_or_server_is_refused(target: Target, archive: Path, tmp_path: Path) -> None:
    newer = rewritten(archive, tmp_path / "newer.tar", revision="9999")
    with pytest.raises(StackError, match=r"has the schema 9999, and this code knows none after"):
        restore(newer, target, replace=True, say=print)
    versions = archives.verify(archive).versions | {"dagster": "99.1"}
    other = rewritten(archive, tmp_path / "other.tar", versions=versions)
    with pytest.raises(StackError, match=r"comes from dagster 99\.1"):
        restore(other, target, replace=True, say=print)


def test_what_differs_from_the_manifest_replaces_nothing(
    target: Target, archive: Path, tmp_path: Path
) -> None:
    rows = archives.verify(archive).rows | {"stores": 6}
    wrong = rewritten(archive, tmp_path / "wrong.tar", rows=rows)
    with psycopg.connect(target.addresses.sales) as connection:
        connection.execute("DELETE FROM sales.stores WHERE store > 3")
    with pytest.raises(StackError, match="stores: 5 instead of 6"):
        restore(wrong, target, replace=True, say=print)
    assert stores(target) == 3
    assert databases(target) == set()


def test_an_older_schema_is_migrated(target: Target, tmp_path: Path) -> None:
    oldest = known_revisions()[0]
    with psycopg.connect(target.addresses.sales) as connection:
        connection.execute("DROP SCHEMA sales CASCADE")
    migrate(target.addresses.sales, tmp_path, tmp_path / "log", to=oldest)
    with psycopg.connect(target.addresses.sales) as connection:
        connection.execute(
            "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
            "VALUES (7, 'a', 'a', 0)"
        )
    path = tmp_path / "old.tar"
    assert save(path, target.addresses, target.programs, {}).revision == oldest
    said: list[str] = []
    restore(path, target, replace=True, say=said.append)
    assert f"the schema was migrated from {oldest} to {known_revisions()[-1]}" in said
    assert stores(target) == 1
    assert audit(target.addresses.sales).balanced


# The whole way: a stream, a backup while it runs, and everything after it lost -------------------


def send(stack: Stack, seed: int, count: int) -> None:
    producer.send(
        list(sender.events(seed, count)),
        bootstrap_servers=stack.kafka.bootstrap_servers,
        topic=TOPIC,
    )


def taken(stack: Stack) -> tuple[int, int]:
    """How many events the ledger has as stored or quarantined, and as expired."""
    with psycopg.connect(stack.postgres.url("sales_owner", "sales")) as connection:
        ((known, expired),) = connection.execute(
            "SELECT coalesce(sum(stored + quarantined), 0)::int, "
            "coalesce(sum(expired), 0)::int FROM sales.stream_offsets"
        ).fetchall()
    return known, expired


def wait_until_taken(stack: Stack, count: int) -> None:
    eventually(lambda: sum(taken(stack)) >= count, 480, f"{count} events to be taken")


def faults(stack: Stack) -> list[str]:
    settings = StreamSettings(
        stream_database_url=stack.postgres.url("sales_stream", "sales"),
        kafka_bootstrap_servers=stack.kafka.bootstrap_servers,
        sales_topic=TOPIC,
    )
    return deep_audit(settings).faults


@pytest.mark.timeout(2400)
def test_after_a_restore_the_stream_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Spark starts three times, on a machine that other tests keep busy.
    monkeypatch.setattr(stream, "START_SECONDS", 600)
    monkeypatch.setattr(kafka, "START_SECONDS", 600)
    folder, archive, said = tmp_path / "stack", tmp_path / "a.tar", list[str]()
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train.csv").write_text("made up")
    (folder / "calendar.json").write_text(json.dumps([day.isoformat() for day in CALENDAR]))

    def use(stack: Stack) -> None:
        for name, value in stack.kafka.access.environment().items():
            monkeypatch.setenv(name, value)

    with Stack.start(folder, {STREAM}, calendar=CALENDAR) as stack:
        use(stack)
        with psycopg.connect(stack.postgres.url("sales_owner", "sales")) as connection:
            connection.execute(
                "INSERT INTO sales.stores (store, store_type, assortment, promo2) "
                f"SELECT number, 'a', 'a', 0 FROM generate_series(1, {STORES}) number"
            )
        send(stack, 1, 300)
        wait_until_taken(stack, 300)
        save_stack(stack, archive, said.append)
        send(stack, 2, 300)
        wait_until_taken(stack, 600)
        with pytest.raises(StackError, match=r"The stack is running \(.*stream"):
            restore_stack(stack, archive, replace=True, say=print)
        # What retention deletes while the database is away is gone; the ledger must say so.
        gone = 5
        before = {row.topic_partition: row.next_offset for row in archives.verify(archive).offsets}
        admin = stack.kafka.admin()
        admin.delete_records({TopicPartition(TOPIC, 0): before[0] + gone})
        admin.close()
        # The broker notes it once a minute; one that is killed before has forgotten it.
        kept = stack.kafka.data / "log-start-offset-checkpoint"
        deadline = time.monotonic() + 90
        while f"{TOPIC} 0 {before[0] + gone}" not in kept.read_text().splitlines():
            assert time.monotonic() < deadline, kept.read_text()
            time.sleep(0.5)
    with pytest.raises(StackError, match="holds a stack's data"):
        restore_stack(Stack.attach(folder, CALENDAR), archive, replace=False, say=print)

    stack.postgres.remove()
    (folder / "calendar.json").unlink()
    (folder / "data" / "train.csv").unlink()
    said.clear()
    restored = restore_stack(
        Stack.attach(folder, CALENDAR), archive, replace=False, say=said.append
    )
    assert restored.next_step == "`make up` starts it"
    assert "Kafka holds 295 offsets after the ledger's: the stream reads them again" in said
    assert any("retention has deleted 5 events" in line for line in said)
    assert (folder / "data" / "train.csv").read_text() == "made up"
    assert json.loads((folder / "calendar.json").read_text())[0] == CALENDAR[0].isoformat()
    assert not (folder / "checkpoints").exists()

    with Stack.start(folder, {STREAM}, calendar=CALENDAR) as again:
        use(again)
        send(again, 3, 100)
        wait_until_taken(again, 700)
        assert faults(again) == []
        assert taken(again) == (700 - gone, gone)

    # Another broker: the ledger's offsets say nothing about its topic, so a person must agree.
    again.kafka.remove()
    said.clear()
    restored = restore_stack(Stack.attach(folder, CALENDAR), archive, replace=True, say=said.append)
    assert "`make up NEW_TOPIC=1`" in restored.next_step
    other = Stack(folder, CALENDAR)
    other.accept_recreated_topic = True
    try:
        other.start_services({STREAM}, print)
        use(other)
        send(other, 2, 300)
        wait_until_taken(other, 600)
        assert faults(other) == []
        assert taken(other) == (600, 0)
    finally:
        other.stop()
        other.remove_data()
