"""Dagster's PostgreSQL storage with connections that stay open between statements.

dagster-postgres opens a connection for every statement. Each login costs several milliseconds, and
a refresh executes about a hundred statements. `dagster.yaml` configures the class here as the
storage; the webserver replaces the engines with a pool of its own.
"""

from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config


class KeptConnectionsStorage(DagsterPostgresStorage):
    """Keeps one connection each for runs, events and schedules, in every process.

    Each connection is tested before use, so PostgreSQL may restart between two statements. Threads
    that need more connections at the same time open them and close them again.
    """

    def __init__(self, postgres_url: str, **others: Any) -> None:
        """Create the storages of dagster-postgres and give them engines that pool.

        Args:
            postgres_url: The address of Dagster's database.
            others: Options of the parent class: `should_autocreate_tables`, `inst_data`.
        """
        super().__init__(postgres_url, **others)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            # Undocumented; test_connections.py checks it against the pinned version.
            storage._engine = create_pg_engine(
                postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=-1,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptConnectionsStorage":
        """Create the storage from `dagster.yaml`; the parent's method would create a parent."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
