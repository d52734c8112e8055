"""A process that sends made-up events at a steady pace, and that a fault can kill.

It records each acknowledgement of the broker in a file at once.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from kafka import KafkaProducer

from streaming_job import producer
from tests.unit.streaming_job import mutations

PAUSE_EVERY = 50

Pair = tuple[bytes, bytes | None]


def events(seed: int, count: int) -> Iterator[Pair]:
    """Yield the keys and values of mostly valid events; equal seeds give equal events."""
    rng = random.Random(seed)  # noqa: S311 - made-up events
    for _ in range(count):
        tokens = mutations.good_tokens(rng)
        value: bytes | None = json.dumps({k: json.loads(v) for k, v in tokens.items()}).encode()
        if rng.random() < 0.02:
            value = mutations.event_value(rng)
        yield tokens["Store"].encode(), value


def paced(pairs: Iterator[Pair], per_second: float) -> Iterator[Pair]:
    began = time.monotonic()
    for number, pair in enumerate(pairs):
        if number % PAUSE_EVERY == 0:
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        yield pair


def recording(path: Path) -> type[KafkaProducer]:
    """Return a producer class that writes each acknowledged event's number to a file at once."""
    file = path.open("ab", buffering=0)

    class Recording(KafkaProducer):  # type: ignore[misc]
        handed_over = 0

        def send(self, *arguments: Any, **named: Any) -> Any:
            number = self.handed_over
            self.handed_over += 1
            future = super().send(*arguments, **named)
            return future.add_callback(lambda _where: file.write(b"%d\n" % number))

    return Recording


def main() -> None:
    """Send the events that the command line describes.

    Its arguments are the bootstrap servers, the topic, the seed, the number of events, the events
    per second, and the file for acknowledgements.
    """
    servers, topic, seed, count, pace, acknowledged = sys.argv[1:]
    # The events go through the product's own `send`, so that its settings are tested.
    with mock.patch.object(producer, "KafkaProducer", recording(Path(acknowledged))):
        producer.send(
            paced(events(int(seed), int(count)), float(pace)),
            bootstrap_servers=servers,
            topic=topic,
        )


if __name__ == "__main__":
    main()
