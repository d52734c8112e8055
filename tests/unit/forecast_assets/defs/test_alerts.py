"""People are told of failed runs and of stale forecasts, once each."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from forecast_assets.defs.alerts import tell_of_failures, tell_of_stale_forecasts
from forecast_assets.settings import settings
from warehouse import changes


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A webhook on loopback; what it was told."""
    texts: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FORECAST_ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/hook")
    settings.cache_clear()
    yield texts
    settings.cache_clear()
    server.shutdown()


@dg.op
def breaks() -> None:
    raise RuntimeError("no disk")


@dg.job
def broken() -> None:
    breaks()


def test_a_failed_run_is_told_with_its_reason(told: list[str]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = broken.execute_in_process(instance=instance, raise_on_error=False)
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_of_failures",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
        tell_of_failures(context)
    (text,) = told
    assert text.startswith(f"broken {result.run_id} has failed: ")


class FakeWarehouse(dg.ConfigurableResource):
    """Stands for a database without changes: what is overdue is given by the test."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield None


def test_stale_forecasts_are_told_once_and_their_recovery_once(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[dict[str, Any]] = [{"store": 7, "first_day": date(2015, 6, 1)}]
    monkeypatch.setattr(changes, "overdue", lambda _transaction, _minutes: late)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        for _ in range(2):
            context = dg.build_sensor_context(instance, cursor=cursor)
            cursor = tell_of_stale_forecasts(context, warehouse=FakeWarehouse()).cursor
        assert len(told) == 1
        assert "forecasts of 1 stores are stale" in told[0]
        assert "7 since 2015-06-01" in told[0]
        late.clear()
        for _ in range(2):
            context = dg.build_sensor_context(instance, cursor=cursor)
            cursor = tell_of_stale_forecasts(context, warehouse=FakeWarehouse()).cursor
    assert len(told) == 2
    assert told[1].startswith("forecasts are fresh again")


def test_without_a_webhook_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORECAST_ALERT_WEBHOOK", "")
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        skipped = tell_of_stale_forecasts(
            dg.build_sensor_context(instance), warehouse=FakeWarehouse()
        )
    settings.cache_clear()
    assert "FORECAST_ALERT_WEBHOOK" in skipped.skip_reason.skip_message
