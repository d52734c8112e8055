"""The stream on a Spark cluster: two workers, one of which is killed, and wrong addresses.

It follows `test_rehearsal.py` on the same stack, without the standing stream.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from tests.compose.containers import FIRST_FORECASTS_SECONDS, REFRESH_SECONDS, Containers

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.compose, pytest.mark.timeout(3600)]

MASTER = "spark://spark-master:7077"
#: How often all made-up sales are sent: 13 times are a million events.
ROUNDS = int(os.environ.get("REHEARSAL_ROUNDS", "1"))
#: Small batches, so that the kill meets one of many.
VARIABLES = {"SPARK_MASTER": MASTER, "STREAM_MAX_OFFSETS_PER_TRIGGER": "20000"}


@pytest.fixture(scope="module")
def cluster(containers: Containers) -> Iterator[Containers]:
    """Two workers of one core each; nothing else takes events or computes meanwhile."""
    idle = ("stream", "dagster-daemon")
    containers.compose("stop", *idle)
    containers.compose(
        "--profile=cluster", "up", "--detach", "--no-build", "--no-deps",
        "--scale=spark-worker=2", "spark-master", "spark-worker",
    )  # fmt: skip
    containers.wait(
        lambda: containers.logs("spark-master").count("Registering worker") >= 2,
        REFRESH_SECONDS,
        "two workers",
    )
    yield containers
    containers.compose("--profile=cluster", "rm", "--stop", "--force", "spark-master")
    containers.compose("--profile=cluster", "rm", "--stop", "--force", "spark-worker")


def stored(containers: Containers) -> int:
    query = "SELECT coalesce(sum(next_offset - first_offset), 0) FROM sales.stream_offsets"
    return int(containers.value("sales", query))


def test_executors_that_cannot_reach_the_driver_are_one_line(cluster: Containers) -> None:
    draining = cluster.run_stream(
        "drain",
        **VARIABLES,
        SPARK_DRIVER_HOST="192.0.2.1",
        SPARK_DRIVER_BIND_ADDRESS="0.0.0.0",  # noqa: S104 - in the container
    )
    said, _ = draining.communicate(timeout=REFRESH_SECONDS)
    assert draining.returncode == 4, said
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "no executor" in line and "SPARK_DRIVER_HOST" in line


def test_a_wrong_secret_gets_nobody_onto_the_cluster(cluster: Containers) -> None:
    draining = cluster.run_stream("drain", **VARIABLES, SPARK_AUTHENTICATE_SECRET="guessed")
    said, _ = draining.communicate(timeout=REFRESH_SECONDS)
    assert draining.returncode != 0, said


def test_two_workers_drain_a_topic_exactly_once_although_one_is_killed(
    cluster: Containers,
) -> None:
    first, last = cluster.rows("sales", "SELECT min(date), max(date) FROM sales.raw_sales")[0]
    sent = sum(cluster.produce(str(first), str(last)) for _ in range(ROUNDS))
    before = stored(cluster)
    draining = cluster.run_stream("drain", **VARIABLES)
    cluster.wait(lambda: stored(cluster) > before, REFRESH_SECONDS, "the first batch")
    cluster.kill("spark-worker")
    survivors = stored(cluster)
    assert survivors < before + sent, "the drain was over before the kill"
    said, _ = draining.communicate(timeout=FIRST_FORECASTS_SECONDS)
    log.info("drained after the kill at %d of %d: %s", survivors - before, sent, said[-200:])
    assert draining.returncode == 0, said
    assert stored(cluster) - before == sent
    audited = cluster.run_stream("audit", "--deep")
    said, _ = audited.communicate(timeout=FIRST_FORECASTS_SECONDS)
    assert "nothing lost or duplicated" in said
