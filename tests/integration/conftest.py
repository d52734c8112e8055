"""One embedded stack (PostgreSQL and Kafka) for all integration tests; a fresh database for each.

Tests that need more (the stream, Dagster) start it themselves with ``stack.start_services``.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local_stack import postgres
from local_stack.stack import Stack

_TEMPLATE = "sales_template"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL (migrated) and Kafka, up for the whole session."""
    with Stack.start(tmp_path_factory.mktemp("stack"), {"postgres", "kafka"}) as running:
        owner, others = postgres.DATABASES["sales"]
        # Copying a migrated database takes a tenth of migrating an empty one.
        running.postgres.create_database(_TEMPLATE, owner, others)
        running.migrate(_TEMPLATE)
        yield running
    running.remove_data()


@contextmanager
def copied_database(stack: Stack, template: str = _TEMPLATE) -> Iterator[str]:
    """A sales database that begins as a copy of another, by default of an empty one; its name."""
    name = f"sales_{uuid.uuid4().hex[:12]}"
    owner, others = postgres.DATABASES["sales"]
    stack.postgres.create_database(name, owner, others, template=template)
    try:
        yield name
    finally:
        stack.postgres.drop_database(name)


@pytest.fixture
def fresh_database(stack: Stack) -> Iterator[dict[str, str]]:
    """A migrated, empty sales database of the test's own.

    Yields:
        OWNER_DATABASE_URL, STREAM_DATABASE_URL, FORECAST_DATABASE_URL and READER_DATABASE_URL.
    """
    with copied_database(stack) as name:
        yield stack.database_urls(name)


@pytest.fixture
def fresh_topic(stack: Stack) -> Iterator[str]:
    """An empty topic of the test's own, with as many topic-partitions as ``sales`` has."""
    name = f"sales-{uuid.uuid4().hex[:12]}"
    stack.kafka.create_topic(name)
    yield name
    stack.kafka.delete_topic(name)
