"""Who gets in, and what each role may do: `docs/security.md` against the running services."""

import json
import re
from collections import defaultdict
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from local_stack import paths
from local_stack.postgres_roles import read_access
from local_stack.stack import Stack
from streaming_job import kafka_client
from streaming_job.errors import StreamError

Grants = dict[tuple[str, str], set[str]]

_GRANTS = """
WITH of_schema AS (SELECT oid, nspacl, nspowner FROM pg_namespace WHERE nspname = 'sales'),
granted AS (
    SELECT (aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))).*, c.relname AS name
    FROM pg_class c JOIN of_schema s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT (aclexplode(coalesce(c.relacl, acldefault('s', c.relowner)))).*, c.relname
    FROM pg_class c JOIN of_schema s ON s.oid = c.relnamespace WHERE c.relkind = 'S'
    UNION ALL
    SELECT (aclexplode(a.attacl)).*, c.relname || '.' || a.attname
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN of_schema s ON s.oid = c.relnamespace
    UNION ALL
    SELECT (aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))).*, p.proname
    FROM pg_proc p JOIN of_schema s ON s.oid = p.pronamespace
    UNION ALL
    SELECT (aclexplode(coalesce(nspacl, acldefault('n', nspowner)))).*, 'schema sales'
    FROM of_schema
    UNION ALL
    SELECT (aclexplode(d.defaclacl)).*, 'default'
    FROM pg_default_acl d
)
SELECT CASE grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(grantee) END,
    privilege_type || CASE WHEN is_grantable THEN ' AND GRANT' ELSE '' END, name
FROM granted WHERE grantee <> 'sales_owner'::regrole
"""


def granted(address: str) -> Grants:
    found: Grants = defaultdict(set)
    with psycopg.connect(address) as connection:
        for role, right, name in connection.execute(_GRANTS):
            found[role, right].add(name)
    return dict(found)


def documented() -> Grants:
    page = (paths.REPOSITORY / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (sales_\w+) \| ([A-Z ]+) \| (.+) \|$", page, re.MULTILINE)
    return {(role, right): set(names.split(", ")) for role, right, names in rows}


def test_each_role_has_the_documented_rights_and_no_other(
    fresh_database: dict[str, str],
) -> None:
    assert granted(fresh_database["OWNER_DATABASE_URL"]) == documented()


@pytest.mark.parametrize("role", ["READER", "STREAM", "PLANNER"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, decode(repeat('00', 1000), 'hex'))",
        "SELECT pg_advisory_lock(hashtext('sales'), hashtext('load'))",
        "SELECT pg_try_advisory_xact_lock_shared(1)",
    ],
)
def test_who_only_reads_keeps_nothing_and_stops_nobody(
    fresh_database: dict[str, str], role: str, statement: str
) -> None:
    with (
        psycopg.connect(fresh_database[f"{role}_DATABASE_URL"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_no_role_is_more_than_it_seems(stack: Stack) -> None:
    with stack.postgres.admin_connection() as connection:
        powerful = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolcreatedb "
            "OR rolcreaterole OR rolreplication OR rolbypassrls OR NOT rolinherit)",
            (list(read_access().connections),),
        ).fetchall()
        members = connection.execute(
            "SELECT pg_get_userbyid(member), pg_get_userbyid(roleid) FROM pg_auth_members "
            "WHERE pg_get_userbyid(member) <> 'pg_monitor'"
        ).fetchall()
        entered = connection.execute(
            "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, "
            "acldefault('d', datdba))) WHERE grantee = 0 AND datallowconn AND datname <> "
            "'template0'"
        ).fetchall()
    assert powerful == []
    assert members == []
    assert entered == [], "everybody may enter these databases"


@pytest.mark.parametrize("port", ["broker", "controller"])
@pytest.mark.parametrize(
    "access",
    [
        {},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",
         "sasl_plain_username": "sales", "sasl_plain_password": "guessed"},
    ],
)  # fmt: skip
def test_kafka_lets_nobody_in_without_the_password(
    stack: Stack, port: str, access: dict[str, str]
) -> None:
    ports = json.loads((stack.kafka.folder / "ports.json").read_text())
    server = {"bootstrap_servers": f"127.0.0.1:{ports[port]}", **access}
    with pytest.raises(KafkaError):
        KafkaAdminClient(**server, bootstrap_timeout_ms=4_000).list_topics()
    with pytest.raises(KafkaError):
        KafkaConsumer(**server, bootstrap_timeout_ms=4_000).topics()
    with pytest.raises(KafkaError):
        KafkaProducer(**server, bootstrap_timeout_ms=4_000, max_block_ms=4_000).send(
            "sales", b"{}"
        ).get(5)


def test_a_wrong_password_is_a_fault_that_names_no_secret(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "planted-wrong-password")
    with pytest.raises(StreamError) as refused:
        kafka_client.describe_topic(stack.kafka.bootstrap_servers, "sales")
    assert "planted-wrong-password" not in str(refused.value)


def test_files_with_secrets_are_closed_to_others(stack: Stack) -> None:
    folders = [path for path in stack.folder.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        assert not folder.stat().st_mode & 0o007, folder
        assert not folder.stat().st_mode & 0o060, folder
    secrets = [*stack.postgres.files.credentials.passwords.values(), stack.kafka.access_password]
    for path in stack.folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 2**20 and holds(path, secrets):
            assert path.stat().st_mode & 0o077 == 0, path


def holds(path: Path, secrets: list[str]) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in secrets)
