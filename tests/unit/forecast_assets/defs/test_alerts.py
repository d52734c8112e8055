"""People are told of failed runs and of problems: once each, whatever the webhook does."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from forecast_assets.defs.alerts import (
    FAILURES_PER_TICK,
    WebhookError,
    tell_of_failures,
    tell_of_problems,
)
from forecast_assets.planning.health_facts import HealthFacts, LateStore
from forecast_assets.settings import settings
from forecast_assets.steps import health
from warehouse import changes
from warehouse.errors import UnreachableError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATE = HealthFacts(
    now=NOW, late=[LateStore(7, date(2015, 6, 1), made_at=NOW.replace(hour=9, minute=13))]
)
FINE = HealthFacts(now=NOW)


class Hook:
    """A webhook on loopback: what it was told, and the answers that it still has to give."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = hook.answers.pop(0) if hook.answers else 204
                if status == 204:
                    hook.texts.append(json.loads(body)["text"])
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    made = Hook()
    monkeypatch.setenv(
        "FORECAST_ALERT_WEBHOOK", f"http://127.0.0.1:{made.server.server_port}/hook-of-secret"
    )
    settings.cache_clear()
    yield made
    settings.cache_clear()
    made.server.shutdown()


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr(changes, "failed", lambda *_: {})
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class FakeWarehouse(dg.ConfigurableResource):
    """Stands for a database; the test gives what is read from it."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield None


class Ticks:
    """A sensor as the daemon evaluates it: an empty cursor is ignored, a raised tick keeps it."""

    def __init__(self, sensor: Any, instance: dg.DagsterInstance) -> None:
        self.sensor, self.instance = sensor, instance
        self.cursor: str | None = None

    def __call__(self) -> dg.SensorResult:
        context = dg.build_sensor_context(self.instance, cursor=self.cursor)
        result = self.sensor(context, warehouse=FakeWarehouse())
        if result.cursor:
            self.cursor = result.cursor
        return result


# Failed runs -------------------------------------------------------------------------------------


@dg.op
def breaks() -> None:
    try:
        raise OSError("no space left on device\nsecond line")
    except OSError as error:
        raise RuntimeError("store 7 cannot be written to postgresql://me:hunter22@db/x") from error


@dg.job(tags={"dagster/asset_partition_range_start": "2015-06-01|7",
              "dagster/asset_partition_range_end": "2015-06-01|9"})  # fmt: skip
def broken() -> None:
    breaks()


def fail(instance: dg.DagsterInstance) -> str:
    return broken.execute_in_process(instance=instance, raise_on_error=False).run_id


def test_a_failed_run_is_told_once_with_its_cause(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = Ticks(tell_of_failures, instance)
    fail(instance)
    tick()
    assert hook.texts == [], "what failed before anybody asked is old"
    run_id = fail(instance)
    monkeypatch.setattr(changes, "failed", lambda _, run: {3: "ValueError: bad", 4: run})
    for _ in range(3):
        tick()
    (text,) = hook.texts
    assert text.startswith(f"broken {run_id} has failed (partitions 2015-06-01|7 to 2015-06-01|9)")
    assert "breaks: RuntimeError: store 7 cannot be written" in text
    assert "caused by OSError: no space left on device / second line" in text
    assert "store 3: ValueError: bad" in text
    assert "hunter22" not in text


def test_failures_are_told_later_when_the_webhook_is_down(
    hook: Hook, instance: dg.DagsterInstance
) -> None:
    tick = Ticks(tell_of_failures, instance)
    tick()
    runs = [fail(instance) for _ in range(3)]
    hook.answers = [500]
    with pytest.raises(WebhookError) as refused:
        tick()
    assert "500" in str(refused.value)
    assert "hook-of-secret" not in str(refused.value)
    hook.answers = [204, 302]
    tick()
    assert len(hook.texts) == 1
    tick()
    tick()
    assert [text.split()[1] for text in hook.texts] == runs


def test_a_failure_that_commits_late_is_told(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = Ticks(tell_of_failures, instance)
    tick()
    first, second = fail(instance), fail(instance)
    everything = type(instance).fetch_run_status_changes

    def without_first(self: dg.DagsterInstance, *args: Any, **kwargs: Any) -> Any:
        result = everything(self, *args, **kwargs)
        records = [r for r in result.records if r.event_log_entry.run_id != first]
        return type(result)(records=records, cursor=result.cursor, has_more=result.has_more)

    with monkeypatch.context() as patch:
        patch.setattr(type(instance), "fetch_run_status_changes", without_first)
        tick()
    tick()
    tick()
    assert [text.split()[1] for text in hook.texts] == [second, first]


def test_more_failures_than_one_tick_tells_are_told_by_the_next(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecast_assets.defs.alerts.FAILURES_PER_TICK", 2)
    assert FAILURES_PER_TICK > 2
    tick = Ticks(tell_of_failures, instance)
    tick()
    runs = [fail(instance) for _ in range(5)]
    for _ in range(4):
        tick()
    assert [text.split()[1] for text in hook.texts] == runs


def test_secrets_of_the_environment_are_hidden(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "SOME_PASSWORD", "store 7 cannot")
    tick = Ticks(tell_of_failures, instance)
    tick()
    fail(instance)
    tick()
    assert "RuntimeError: *** be written to postgresql://***@db/x" in hook.texts[0]


# Problems ----------------------------------------------------------------------------------------


def test_every_spell_is_told_once_at_its_start_and_once_at_its_end(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = Ticks(tell_of_problems, instance)
    for facts in (FINE, LATE, LATE, FINE, FINE, FINE, LATE, FINE):
        monkeypatch.setattr(health, "read_facts", lambda *_, facts=facts: facts)
        tick()
    assert len(hook.texts) == 4
    assert "forecasts of 1 stores are stale" in hook.texts[0]
    assert "store 7, waiting since 09:13 UTC" in hook.texts[0]
    assert hook.texts[1].startswith("forecasts are fresh again")
    assert hook.texts[2:3] == hook.texts[0:1]


def test_a_spell_that_passes_while_the_webhook_is_down_is_told_afterwards(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = Ticks(tell_of_problems, instance)
    hook.answers = [503, 503, 503]
    for facts in (LATE, FINE):
        monkeypatch.setattr(health, "read_facts", lambda *_, facts=facts: facts)
        assert "503" in str(tick().skip_reason)
    with pytest.raises(WebhookError):
        tick()
    assert hook.texts == []
    tick()
    tick()
    assert ["are stale" in text for text in hook.texts] == [True, False]


def test_a_database_that_does_not_answer_is_told(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> HealthFacts:
        raise UnreachableError("the sales database does not answer")

    tick = Ticks(tell_of_problems, instance)
    monkeypatch.setattr(health, "read_facts", unreachable)
    tick()
    tick()
    monkeypatch.setattr(health, "read_facts", lambda *_: FINE)
    tick()
    assert len(hook.texts) == 2
    assert "does not answer" in hook.texts[0]
    assert hook.texts[1].startswith("the sales database answers again")


@pytest.mark.parametrize("sensor", [tell_of_failures, tell_of_problems])
def test_without_a_webhook_nobody_is_told(
    sensor: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORECAST_ALERT_WEBHOOK", "")
    settings.cache_clear()
    result = Ticks(sensor, instance)()
    settings.cache_clear()
    assert "FORECAST_ALERT_WEBHOOK" in str(result.skip_reason)
