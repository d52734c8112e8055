"""An instance that knows the stores of `tests.support.partitions`."""

from collections.abc import Iterator

import dagster as dg
import pytest

from tests.support.partitions import STORES


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions("store", STORES)
        yield made
