"""The embedded PostgreSQL and Kafka, for real."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer

from local_stack import paths
from local_stack.errors import StackError
from local_stack.kafka import TOPIC_PARTITIONS
from local_stack.postgres import Postgres
from local_stack.postgres_data import SUPERUSER
from local_stack.postgres_roles import SALES, read_access
from local_stack.processes import Processes
from local_stack.stack import Stack
from streaming_job import kafka_client
from streaming_job.errors import StreamError
from tests.support.secret_hunt import in_texts


def test_every_role_reaches_its_database(stack: Stack) -> None:
    for role in ("sales_owner", *read_access().databases[SALES].rights):
        with psycopg.connect(stack.postgres.url(role, "sales")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)


@pytest.mark.parametrize("database", ["dagster", "mlflow", "postgres"])
def test_sales_roles_may_not_enter_other_databases(stack: Stack, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(stack.postgres.url("sales_stream", database))


def access_of(server: Postgres) -> list[tuple[object, ...]]:
    """What the server says of roles, their limits, and who may do what in which database."""
    with server.admin_connection() as connection:
        return connection.execute(
            "SELECT rolname, rolconnlimit::text, rolcanlogin::text FROM pg_roles "
            "WHERE rolname !~ '^pg_' UNION ALL "
            "SELECT datname, pg_get_userbyid(datdba), acl::text "
            "FROM pg_database CROSS JOIN unnest(datacl) AS acl ORDER BY 1, 2, 3"
        ).fetchall()


def test_containers_get_the_same_roles_and_databases(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgres, "_create_roles", lambda *arguments: None)
    server = Postgres(Processes(tmp_path))
    server.start()
    try:
        passwords = {role: f"{role}'s own" for role in read_access().connections}
        script = paths.ROLES.with_name("roles.sh")
        # A sample of running processes would miss most: each of these runs for milliseconds.
        command_lines = tmp_path / "command-lines"
        psql = tmp_path / "bin" / "psql"
        psql.parent.mkdir()
        psql.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>'{command_lines}'\n"
            f"exec '{server.files.binaries()}/psql' \"$@\"\n"
        )
        psql.chmod(0o755)
        subprocess.run(
            ["sh", str(script)],
            env={
                "PATH": f"{psql.parent}:{os.environ['PATH']}",
                "ROLES_FILE": str(paths.ROLES),
                "CLOSE_FILE": str(paths.CLOSE),
                "SCRIPTS_FOLDER": str(paths.ROLES.parent),
                "POSTGRES_USER": SUPERUSER,
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGPASSWORD": server.files.credentials.passwords[SUPERUSER],
                **{f"{role.upper()}_PASSWORD": value for role, value in passwords.items()},
            },
            check=True,
        )
        seen = command_lines.read_text().splitlines()
        assert len(seen) > len(passwords)
        secrets = {**passwords, SUPERUSER: server.files.credentials.passwords[SUPERUSER]}
        assert in_texts(secrets, seen) == set()
        assert access_of(server) == [
            row
            for row in access_of(stack.postgres)
            if not str(row[0]).startswith("sales_") or row[0] in passwords
        ]
        with server.admin_connection("dagster") as connection:
            callable_by_reader = connection.execute(
                "SELECT count(*) FROM pg_proc WHERE pronamespace = 'monitoring'::regnamespace "
                "AND has_function_privilege('dagster_reader', oid, 'EXECUTE')"
            ).fetchone()
        assert callable_by_reader == (8,)
        with server.admin_connection(SALES) as connection:
            allowed = connection.execute(
                "SELECT rolname, has_function_privilege(rolname, 'lo_create(oid)', 'EXECUTE'), "
                "has_function_privilege(rolname, 'pg_advisory_lock(bigint)', 'EXECUTE') "
                "FROM pg_roles WHERE rolname LIKE 'sales_%' ORDER BY 1"
            ).fetchall()
        assert allowed == [
            ("sales_assets", False, True),
            ("sales_owner", False, True),
            ("sales_planner", False, False),
            ("sales_reader", False, False),
            ("sales_stream", False, False),
        ]
        for role, password in passwords.items():
            own = next(
                name
                for name, database in read_access().databases.items()
                if role == database.owner or role in database.rights
            )
            with psycopg.connect(
                host="127.0.0.1", port=server.port, user=role, password=password, dbname=own
            ) as connection:
                assert connection.execute("SELECT current_user").fetchone() == (role,)
    finally:
        server.processes.stop_all()
        server.remove()


def test_a_login_needs_the_password(stack: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(
            host="127.0.0.1", port=stack.postgres.port, user="sales_reader", dbname="sales"
        )


def test_credentials_are_private(stack: Stack) -> None:
    assert stack.postgres.files.credentials_file.stat().st_mode & 0o777 == 0o600


def test_fresh_databases_are_apart(stack: Stack, fresh_database: dict[str, str]) -> None:
    with psycopg.connect(fresh_database["OWNER_DATABASE_URL"]) as connection:
        name = connection.execute("SELECT current_database()").fetchone()
    assert name is not None and name[0].startswith("sales_")


def test_killed_postgres_comes_back_with_its_rows_and_port(tmp_path: Path) -> None:
    with Stack.start(tmp_path, {"postgres"}) as own:
        url = own.postgres.url("sales_owner", "sales")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        own.kill_service("postgres")
        own.restart_service("postgres")
        assert own.postgres.url("sales_owner", "sales") == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    own.remove_data()


def test_a_temporary_stack_leaves_nothing_behind_when_its_block_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Stack.temporary(tmp_path / "stack", {"postgres"}) as own,
    ):
        raise ZeroDivisionError
    assert own.processes.alive() == []
    assert not own.postgres.files.home.exists()
    assert not own.folder.exists()


def test_half_made_data_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.postgres.files.data.mkdir(parents=True)
    (stack.postgres.files.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match="half-made PostgreSQL data folder") as refused:
        Stack.start(tmp_path, {"postgres"})
    assert "\n" not in str(refused.value)
    assert not Stack(tmp_path).processes.alive()
    stack.remove_data()


def test_initdb_cut_short_is_done_again(tmp_path: Path) -> None:
    leftover = Stack(tmp_path).postgres.files.home / "data.unfinished"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("16\n")
    with Stack.start(tmp_path, {"postgres"}) as own:
        assert own.is_running("postgres")
        assert not leftover.exists()
    own.remove_data()


def test_stale_pid_files_do_not_stop_the_start(tmp_path: Path) -> None:
    with Stack.start(tmp_path, {"postgres"}) as own:
        pass
    # PID 1 lives, and is not ours: neither file may lead anyone to it.
    (own.postgres.files.data / "postmaster.pid").write_text(
        "1\n" + str(own.postgres.files.data) + "\n"
    )
    own.processes.run_folder.mkdir(exist_ok=True)
    (own.processes.run_folder / "postgres.json").write_text(
        '{"name": "postgres", "pid": 1, "started": 5.0, "order": 1, "stop_signal": 2, '
        '"stop_seconds": 1, "program": "postgres"}'
    )
    with Stack.start(tmp_path, {"postgres"}) as own:
        assert own.is_running("postgres")
    own.remove_data()


def test_a_topic_is_created_once_and_then_stays_as_it_is(stack: Stack) -> None:
    broker, topic = stack.kafka.bootstrap_servers, "created-by-command"
    try:
        assert kafka_client.create_topic(broker, topic, 3, 1)
        created = kafka_client.describe_topic(broker, topic)
        assert created.partitions == (0, 1, 2)
        assert not kafka_client.create_topic(broker, topic, 5, 1)
        assert kafka_client.describe_topic(broker, topic) == created
        with pytest.raises(StreamError, match="replication"):
            kafka_client.create_topic(broker, "too-many-copies", 1, 2)
    finally:
        stack.kafka.delete_topic(topic)


def test_topic_keeps_its_events_over_a_kill(stack: Stack, fresh_topic: str) -> None:
    producer = KafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap_servers,
        acks="all",
        **stack.kafka.access.client_options(),
    )
    for number in range(100):
        producer.send(fresh_topic, key=b"%d" % number, value=b"event %d" % number)
    producer.flush()
    producer.close()
    before = stack.kafka.bootstrap_servers
    stack.kill_service("kafka")
    stack.restart_service("kafka")
    assert stack.kafka.bootstrap_servers == before
    consumer = KafkaConsumer(
        fresh_topic,
        bootstrap_servers=before,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
        **stack.kafka.access.client_options(),
    )
    assert len(consumer.partitions_for_topic(fresh_topic)) == TOPIC_PARTITIONS
    assert {message.value for message in consumer} == {b"event %d" % n for n in range(100)}
    consumer.close()


def test_an_unknown_topic_is_not_made_by_a_producer(stack: Stack) -> None:
    producer = KafkaProducer(
        bootstrap_servers=stack.kafka.bootstrap_servers,
        max_block_ms=2000,
        **stack.kafka.access.client_options(),
    )
    with pytest.raises(Exception, match=r"(?i)unknown|metadata|timed out|timeout"):
        producer.send("sales-misspelt", value=b"x").get(timeout=5)
    producer.close(timeout=1)


def test_services_end_when_their_starter_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from local_stack.stack import Stack; "
        "Stack.start(Path(sys.argv[1]), {'postgres'}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=paths.REPOSITORY, check=False)
    stack = Stack(tmp_path)
    from time import monotonic, sleep

    deadline = monotonic() + 20
    while stack.processes.records() and monotonic() < deadline:
        sleep(0.1)
    assert not stack.processes.records()
    assert not stack.processes.strays()
    stack.remove_data()
