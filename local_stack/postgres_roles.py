"""The roles and databases of `deploy/postgres/roles.txt`, created in the embedded server.

The containers create the same ones with `deploy/postgres/roles.sh`. Passwords are made in
`postgres_data.py`; what a role may do inside the sales database is the migrations' business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import psycopg
from psycopg import sql

from local_stack import paths
from local_stack.errors import StackError

#: The database whose owner and rights every further sales database gets.
SALES = "sales"


@dataclass
class Database:
    """Who may enter a database.

    Attributes:
        owner: The role that owns it.
        rights: Other role -> its rights on the database, as GRANT spells them.
        locks: Other roles that may hold the database's advisory locks.
        scripts: Files beside `roles.txt` -> the role that runs them in the database.
    """

    owner: str
    rights: dict[str, str] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)


@dataclass
class Access:
    """The content of `roles.txt`.

    Attributes:
        connections: Role -> the most connections it may open.
        databases: Name -> who may enter.
    """

    connections: dict[str, int] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)


@cache
def read_access() -> Access:
    """Return the roles, their connection limits, the databases and the rights on them.

    Raises:
        StackError: A line of the file is none of its kinds.
    """
    access = Access()
    for number, line in enumerate(paths.ROLES.read_text().splitlines(), 1):
        match line.partition("#")[0].split(maxsplit=3):
            case []:
                continue
            case ["role", name, connections]:
                access.connections[name] = int(connections)
            case ["database", name, owner]:
                access.databases[name] = Database(owner)
            case ["grant", database, role, rights]:
                access.databases[database].rights[role] = rights
            case ["locks", database, role]:
                access.databases[database].locks.append(role)
            case ["script", database, role, file]:
                access.databases[database].scripts[file] = role
            case _:
                raise StackError(f"{paths.ROLES} line {number}: {line.strip()!r} is not understood")
    return access


def create_missing(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Create the roles and databases that are not there yet, and set every role's limit.

    Args:
        connection: The superuser's, in autocommit mode.
        passwords: Role -> its password.
    """
    access = read_access()
    roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
    for role, limit in access.connections.items():
        if role not in roles:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(passwords[role])
                )
            )
        connection.execute(
            sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(
                sql.Identifier(role), sql.Literal(limit)
            )
        )
    if not roles.issuperset(access.connections):
        connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
    for name, database in access.databases.items():
        if name not in databases:
            create_database(connection, name, database)
        else:
            # Its roles may be newer than it.
            _grant(connection, name, database)


def close(connection: psycopg.Connection, database: Database) -> None:
    """Take from everybody what a role of a database may do besides reading it.

    Args:
        connection: The superuser's, in the database and in autocommit mode.
        database: Who may hold its advisory locks.
    """
    connection.execute(paths.CLOSE.read_text().encode())
    functions = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc "
        "WHERE pronamespace = 'pg_catalog'::regnamespace "
        r"AND proname LIKE 'pg\_%advisory%lock%'"
    ).fetchall()
    roles = sql.SQL(", ").join(map(sql.Identifier, [database.owner, *database.locks]))
    for (function,) in functions:
        connection.execute(
            sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(function), roles)
        )


def run_scripts(connection: psycopg.Connection, database: Database) -> None:
    """Make the functions through which other roles ask a database, anew each time.

    Args:
        connection: The superuser's, in the database and in autocommit mode.
        database: Its scripts.
    """
    for file, role in database.scripts.items():
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute(paths.ROLES.with_name(file).read_text().encode())
        connection.execute("RESET ROLE")


def create_database(
    connection: psycopg.Connection, name: str, database: Database, template: str | None = None
) -> None:
    """Create a database that only its owner and the roles with rights may enter.

    Args:
        connection: The superuser's, in autocommit mode.
        name: Name of the database.
        database: Its owner and the others' rights.
        template: Database to copy, with its tables and rows; sessions in it are ended.
    """
    identifier = sql.Identifier(name)
    statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(
        identifier, sql.Identifier(database.owner)
    )
    if template is not None:
        # PostgreSQL copies no database in which somebody keeps a connection.
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (template,),
        )
        statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    connection.execute(statement)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(identifier))
    _grant(connection, name, database)


def _grant(connection: psycopg.Connection, name: str, database: Database) -> None:
    for role, rights in database.rights.items():
        connection.execute(
            sql.SQL("GRANT {} ON DATABASE {} TO {}").format(
                sql.SQL(rights), sql.Identifier(name), sql.Identifier(role)
            )
        )
