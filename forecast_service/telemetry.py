"""Request ids, structured logs and Prometheus metrics, in one ASGI layer around the application.

The metrics' labels are route templates, never paths: their number stays bounded.
"""

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Clients may name their requests, in signs that cannot break a line of the log.
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Methods that get a label of their own.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_log = logging.getLogger("forecast_service")


def request_id() -> str:
    """Return the id of the request that this task answers."""
    return _request_id.get()


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register the metrics."""
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter(
            "forecast_service_requests", "Answered requests.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "forecast_service_request_seconds",
            "Seconds until a request was answered.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "forecast_service_requests_in_progress",
            "Requests that are being answered.",
            registry=self.registry,
        )
        self.refused = Counter(
            "forecast_service_refused",
            "Requests refused because too many were being answered.",
            registry=self.registry,
        )


class Telemetry:
    """An ASGI layer that names, logs and measures every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if _ID.fullmatch(given) else uuid.uuid4().hex
        token = _request_id.set(identity)
        started, status = time.perf_counter(), 500

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = identity
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send_named)
        finally:
            self._metrics.in_progress.dec()
            self._note(scope, status, time.perf_counter() - started, identity)
            _request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float, identity: str) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", None) or "none"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        _log.info(
            "request",
            extra={
                "fields": {
                    "request_id": identity,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(1000 * seconds, 2),
                    "client": scope.get("state", {}).get("client"),
                }
            },
        )


class JsonLines(logging.Formatter):
    """A formatter that writes one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; control characters are escaped."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
            line.setdefault("request_id", request_id())
        return json.dumps(line, default=str)


def configure_logs(level: str = "INFO") -> None:
    """Write this process's logs as JSON lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Connection strings and addresses of requests aren't worth a line each.
    for noisy in ("httpx", "kafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
