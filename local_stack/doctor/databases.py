"""PostgreSQL: roles, logins, connections, clock, and the schema beside the code's."""

import time
from collections.abc import Iterator, Mapping

import psycopg

from local_stack.doctor.findings import Finding, entry, ok, problem, warning
from local_stack.postgres_roles import read_access
from local_stack.schema import known_revisions, revision_of

#: Seconds by which two clocks may differ.
CLOCK_SECONDS = 5.0
#: The share of a role's connections beyond which they count as scarce.
SCARCE_SHARE = 0.9
_ROLES = """
SELECT rolname, rolconnlimit, rolcanlogin, rolsuper, (
    SELECT count(*) FROM pg_stat_activity WHERE usename = rolname)
FROM pg_roles
"""


def examine_server(admin: psycopg.Connection) -> Iterator[Finding]:
    """Compare the roles and databases with `roles.txt`, and the server's clock with this one."""
    access = read_access()
    roles = {row[0]: row[1:] for row in admin.execute(_ROLES)}
    wrong = 0
    for name in access.connections:
        if name not in roles:
            wrong += 1
            yield problem("roles", f"the role {name} is missing", "`make down`, `make up` makes it")
            continue
        limit, may_login, is_superuser, used = roles[name]
        if is_superuser or not may_login:
            wrong += 1
            yield problem(
                "roles",
                f"{name} {'is a superuser' if is_superuser else 'may not log in'}",
                f"as the superuser: ALTER ROLE {name} NOSUPERUSER LOGIN",
            )
        if limit > 0 and used > SCARCE_SHARE * limit:
            wrong += 1
            yield warning(
                "roles", f"{name} uses {used} of {limit} connections", entry("ConnectionsScarce")
            )
    missing = set(access.databases) - {
        row[0] for row in admin.execute("SELECT datname FROM pg_database")
    }
    for name in sorted(missing):
        wrong += 1
        yield problem("roles", f"the database {name} is missing", "`make up` makes it, empty")
    if not wrong:
        yield ok("roles", f"{len(access.connections)} roles and {len(access.databases)} databases")
    ((now,),) = admin.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    yield from examine_clock(now - time.time())


def examine_clock(skew: float) -> Iterator[Finding]:
    """Judge by how many seconds PostgreSQL's clock is ahead of this machine's."""
    if abs(skew) > CLOCK_SECONDS:
        yield problem(
            "clock",
            f"PostgreSQL's clock is {abs(skew):,.0f} s {'ahead' if skew > 0 else 'behind'}",
            "set both clocks by NTP: events of the future are quarantined",
        )
    else:
        yield ok("clock", "PostgreSQL's clock agrees")


def examine_logins(addresses: Mapping[str, str]) -> Iterator[Finding]:
    """Try each role's address.

    Args:
        addresses: The variable's name -> the address.
    """
    refused = 0
    for name, address in addresses.items():
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            refused += 1
            reason = (str(error).strip().splitlines() or ["no message"])[-1]
            yield problem(
                "logins",
                f"{name} does not let in: {reason}",
                "`make down`, `make up` sets rights anew; a password that differs needs a restore",
            )
    if not refused:
        yield ok("logins", f"{len(addresses)} addresses let their roles in")


def examine_schema(connection: psycopg.Connection) -> Iterator[Finding]:
    """Compare the schema with the newest that the code knows."""
    revision, known = revision_of(connection), known_revisions()
    if revision == known[-1]:
        yield ok("schema", f"revision {revision}, the code's newest")
    elif revision is None:
        yield problem("schema", "the sales database has no tables", "`make up` makes them")
    elif revision in known:
        yield problem(
            "schema",
            f"revision {revision}, and the code needs {known[-1]}",
            "`make backup`, then `make down` and `make up`, which migrates",
        )
    else:
        yield problem(
            "schema",
            f"revision {revision}, which this code does not know (its newest is {known[-1]})",
            "run the newer version of the code that made it",
        )
