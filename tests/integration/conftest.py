"""One embedded stack (PostgreSQL and Kafka) for all integration tests; a fresh database for each.

Tests that need more (the stream, Dagster) start it themselves with ``stack.start_services``.
"""

import os
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from local_stack.stack import Stack
from rossmann.sample_data import sample_files
from tests.support.chain import END, STORES, Chain, chain_on
from tests.support.databases import TEMPLATE, copied_database
from tests.support.service import Service, service_on

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL (migrated) and Kafka, up for the whole session, in a folder with an odd name."""
    with Stack.start(
        tmp_path_factory.mktemp("stäck of any letters "), {"postgres", "kafka"}
    ) as running:
        # Copying a migrated database takes a tenth of migrating an empty one.
        running.postgres.create_sales_database(TEMPLATE)
        running.migrate(TEMPLATE)
        # The stream's functions read from the environment how to reach the broker.
        with patch.dict(os.environ, running.kafka.access.environment()):
            yield running
    running.remove_data()


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


@pytest.fixture(scope="module")
def kaggle_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kaggle")
    sample_files(STORES, 500, END, seed=3).write(folder)
    return folder


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for the module: making it takes longer than a training."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def chain(
    fresh_database: dict[str, str], kaggle_files: Path, mlflow_uri: str, tmp_path: Path
) -> Iterator[Chain]:
    """A graph over an empty database."""
    with chain_on(fresh_database, kaggle_files, mlflow_uri, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def forecast_template(
    stack: Stack, kaggle_files: Path, mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with forecasts in force, made once: copying it takes a fraction of making it."""
    workdir = tmp_path_factory.mktemp("template")
    with copied_database(stack) as name:
        with chain_on(stack.database_urls(name), kaggle_files, mlflow_uri, workdir) as made:
            made.load(date(2015, 6, 12))
            made.refresh()
            made.train("2015-06-01")
            made.refresh()
        yield name


@pytest.fixture
def forecast_database(stack: Stack, forecast_template: str) -> Iterator[dict[str, str]]:
    with copied_database(stack, forecast_template) as name:
        yield stack.database_urls(name)


@pytest.fixture
def forecast_chain(
    forecast_database: dict[str, str], kaggle_files: Path, mlflow_uri: str, tmp_path: Path
) -> Iterator[Chain]:
    """A graph over a database with forecasts in force."""
    with chain_on(forecast_database, kaggle_files, mlflow_uri, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def service(
    stack: Stack,
    kaggle_files: Path,
    mlflow_uri: str,
    forecast_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A service on a database with forecasts from two origins, a day apart."""
    with copied_database(stack, forecast_template) as name:
        urls = stack.database_urls(name)
        with chain_on(urls, kaggle_files, mlflow_uri, tmp_path_factory.mktemp("service")) as made:
            made.load_day(date(2015, 6, 13))
            made.refresh()
        with service_on(urls) as running:
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A browser for the module."""
    from tests.support.browser import chromium

    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: "Browser", service: Service) -> Iterator["Page"]:
    """The page of somebody signed in who may do everything."""
    from tests.support.browser import signed_in

    with signed_in(browser, service) as opened:
        yield opened
