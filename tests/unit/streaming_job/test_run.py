"""The pauses between two starts of the query."""

import threading
from collections.abc import Callable

import pytest

from streaming_job import query, run
from streaming_job.run import Supervisor
from streaming_job.settings import StreamSettings
from streaming_job.source import Start

SETTINGS = StreamSettings(
    stream_database_url="postgresql://nobody@127.0.0.1:1/nothing",
    kafka_bootstrap_servers="127.0.0.1:1",
)


class Pauses(threading.Event):
    """An event that records each wait instead of waiting, and is set after some of them."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        if len(self.seconds) == self.until:
            self.set()
        return self.is_set()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], list[float]]:
    """Return the pauses while the query always fails, by the ledger's offset at each start."""

    def fail(*_arguments: object) -> None:
        raise RuntimeError("could not extend file: No space left on device")

    monkeypatch.setattr(run, "ensure_monthly_tables", lambda _settings: None)
    monkeypatch.setattr(run, "_is_alive", lambda _spark: True)
    monkeypatch.setattr(query, "start_query", fail)

    def measured(ledger: list[int]) -> list[float]:
        starts = (Start(1, "sales", "uuid", {0: offset}) for offset in ledger)
        monkeypatch.setattr(Supervisor, "_plan", lambda _self: next(starts))
        stopping = Pauses(until=len(ledger))
        Supervisor(SETTINGS, stopping=stopping)._supervise(None)  # type: ignore[arg-type]
        return stopping.seconds

    return measured


def test_pauses_grow_while_nothing_is_taken(pauses: Callable[[list[int]], list[float]]) -> None:
    assert pauses([5] * 7) == [1, 2, 4, 8, 10, 10, 10]


def test_a_query_that_took_something_starts_the_pauses_anew(
    pauses: Callable[[list[int]], list[float]],
) -> None:
    assert pauses([5, 5, 5, 6, 6, 7]) == [1, 2, 4, 1, 2, 1]
