"""The embedded PostgreSQL server on loopback: start, stop, addresses, databases.

Its data folder is in `postgres_data.py`, its roles and databases in `postgres_roles.py`.
"""

import signal
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from local_stack import network
from local_stack.errors import StackError
from local_stack.postgres_data import SUPERUSER, DataFolder, clean_environment
from local_stack.postgres_roles import (
    SALES,
    close,
    create_database,
    create_missing,
    read_access,
    run_scripts,
)
from local_stack.private import make_private
from local_stack.processes import START_SECONDS, Command, Processes, Record

NAME = "postgres"
#: `docker-compose.yml` sets the same; the roles' limits are in `deploy/postgres/roles.txt`.
MAX_CONNECTIONS = 300

_SERVER_SETTINGS = {
    "listen_addresses": network.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    # A statement on a table partitioned by month locks every month and index.
    "max_locks_per_transaction": "256",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """The embedded PostgreSQL server of one stack folder."""

    def __init__(self, processes: Processes) -> None:
        """Remember where things are; nothing is started yet.

        Args:
            processes: The processes of the stack.

        Raises:
            StackError: Root starts the stack, and no other user is there to run the server.
        """
        self.processes = processes
        self.files = DataFolder(processes.folder / NAME)
        self.port_file = self.files.folder / "port"
        self.port: int | None = None

    # Running -------------------------------------------------------------------------------------

    def start(self) -> Record:
        """Start the server; make the data folder, the roles and the databases when new.

        Returns:
            The server's process.

        Raises:
            StackError: The data folder is incomplete or another version's, a requested port is in
                use, or the server does not come up.
        """
        files = self.files
        make_private(files.folder, passage=files.user)
        if not files.is_initialised():
            files.initialise()
        files.wait_for_predecessor()
        self.port = network.choose_port(
            "STACK_POSTGRES_PORT", network.remembered_port(self.port_file)
        )
        self.port_file.write_text(str(self.port))
        settings = {**_SERVER_SETTINGS, "port": str(self.port)}
        record = self.processes.start(
            Command(
                name=NAME,
                arguments=[
                    str(files.binaries() / "postgres"),
                    "-D",
                    str(files.data),
                    *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
                ],
                environment=clean_environment(),
                working_directory=files.data if files.user is None else Path("/"),
                user=files.user,
                # "Fast shutdown": ends the sessions; signal 15 would wait for every client.
                stop_signal=signal.SIGINT,
                stop_seconds=20,
                tier=0,
            )
        )
        self.processes.wait_until_ready(record, self.is_ready, START_SECONDS, "accepting logins")
        self._create_roles(files.credentials.passwords)
        return record

    def _create_roles(self, passwords: dict[str, str]) -> None:
        with self.admin_connection() as connection:
            create_missing(connection, passwords)
        for name, database in read_access().databases.items():
            with self.admin_connection(name) as connection:
                close(connection, database)
                run_scripts(connection, database)

    def resume(self) -> None:
        """Take up a server that runs already."""
        self.port = network.remembered_port(self.port_file)

    def is_ready(self) -> bool:
        """Tell whether the server accepts a login.

        Raises:
            StackError: It refuses the superuser's password.
        """
        try:
            with self.admin_connection():
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                files = self.files
                raise StackError(
                    f"{files.credentials_file} does not fit the data in {files.data}: delete "
                    f"{files.folder} and {files.data} to start afresh (the sales in it are lost)."
                ) from error
            return False

    def remove(self) -> None:
        """Remove the data for good (the server must be stopped)."""
        self.files.remove()

    # Addresses -----------------------------------------------------------------------------------

    def url(self, role: str, database: str) -> str:
        """Return the address of a database for a role.

        Raises:
            StackError: The server was not started.
        """
        if self.port is None:
            raise StackError("PostgreSQL was not started.")
        password = quote(self.files.credentials.passwords[role], safe="")
        return f"postgresql://{role}:{password}@{network.LOOPBACK}:{self.port}/{database}"

    def admin_connection(self, database: str = "postgres") -> psycopg.Connection:
        """Open a connection as the superuser, for what no component may do."""
        return psycopg.connect(self.url(SUPERUSER, database), autocommit=True, connect_timeout=5)

    # Databases -----------------------------------------------------------------------------------

    def create_sales_database(self, name: str, template: str | None = None) -> None:
        """Create a further database with the owner and the rights of the sales database.

        Args:
            name: Name of the database.
            template: Database to copy, with its tables and rows; sessions in it are ended.
        """
        with self.admin_connection() as connection:
            create_database(connection, name, read_access().databases[SALES], template)
        with self.admin_connection(name) as connection:
            close(connection, read_access().databases[SALES])

    def drop_database(self, name: str) -> None:
        """Drop a database; sessions in it are ended."""
        with self.admin_connection() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
