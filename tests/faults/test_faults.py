"""A short selection of faults on one running stream, with a check after each fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.stack import Stack
from tests.faults.__main__ import play
from tests.faults.world import World, new_world

OUTAGE_SECONDS = 6.0
EVENTS = 1_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # A stack of its own: these tests kill its services.
    folder: Path = tmp_path_factory.mktemp("faults")
    with Stack.start(folder, {"postgres", "kafka"}) as stack:
        stack.postgres.create_sales_database("faults")
        stack.migrate("faults")
        with new_world(stack, stack.database_urls("faults")) as made:
            made.wait_until_running()
            yield made
    stack.remove_data()


@pytest.mark.parametrize(
    "faults",
    [
        ["worker_killed_in_copy"],
        ["postmaster_killed"],
        ["database_restored"],
        ["table_locked"],
        ["partitions_added", "transactions"],
        ["checkpoints_deleted", "broker_killed"],
    ],
    ids=" and ".join,
)
def test_every_event_is_stored_or_quarantined_once(world: World, faults: list[str]) -> None:
    recovery, checked = play(
        world, seed=len(faults[0]), names=faults, outage=OUTAGE_SECONDS, events=EVENTS
    )
    assert checked > 0
    assert recovery < 120
