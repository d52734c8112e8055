"""Dagster's PostgreSQL storage with connections that are kept between statements.

dagster-postgres opens a connection for every statement. Logging in costs several milliseconds each
time, and a refresh makes some hundred statements. `dagster.yaml` names the class here as its custom
storage; the webserver puts a pool of its own in its place.
"""

from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config


class KeptConnectionsStorage(DagsterPostgresStorage):
    """One kept connection for runs, events and schedules each, in every process.

    A kept connection is tried before it is used, so that PostgreSQL may restart between two
    statements. Threads that need more at the same time open more, and close them again.
    """

    def __init__(self, postgres_url: str, **others: Any) -> None:
        """Makes the storages as dagster-postgres does, with engines that pool.

        Args:
            postgres_url: The address of Dagster's database.
            others: Passed on: `should_autocreate_tables`, `inst_data`.
        """
        super().__init__(postgres_url, **others)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            # Not documented; tests/integration/test_connections.py holds it to the pinned version.
            storage._engine = create_pg_engine(
                postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=-1,
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptConnectionsStorage":
        """Makes the storage from `dagster.yaml`; the parent's way names the parent."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )
