"""Sends made-up events at a steady pace from a process of its own, so that it can be killed."""

import json
import random
import sys
import time
from collections.abc import Iterator

from streaming_job import producer
from tests.unit.streaming_job import mutations

PAUSE_EVERY = 50


def values(seed: int, count: int, per_second: float) -> Iterator[tuple[bytes, bytes | None]]:
    """Mostly good events, some bad ones, paced."""
    rng = random.Random(seed)  # noqa: S311 - made-up events
    began = time.monotonic()
    for number in range(count):
        if number % PAUSE_EVERY == 0:
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        tokens = mutations.good_tokens(rng)
        value: bytes | None = json.dumps({k: json.loads(v) for k, v in tokens.items()}).encode()
        if rng.random() < 0.02:
            value = mutations.event_value(rng)
        yield tokens["Store"].encode(), value


def main() -> None:
    """Arguments: bootstrap servers, topic, seed, count, events per second."""
    servers, topic, seed, count, pace = sys.argv[1:]
    producer.send(
        values(int(seed), int(count), float(pace)), bootstrap_servers=servers, topic=topic
    )


if __name__ == "__main__":
    main()
