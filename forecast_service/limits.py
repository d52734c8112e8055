"""Limits on requests: how long a body may be, and how many requests are answered at once."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forecast_service.problems import problem_response
from forecast_service.telemetry import Metrics

#: Paths that answer however busy the service is.
_ALWAYS = ("/health", "/health/live", "/health/ready", "/metrics")


class _TooLongError(Exception):
    """A body that turned out to be too long while it was read."""


class Limits:
    """An ASGI layer that refuses long bodies with 413 and too many requests at once with 429."""

    def __init__(
        self, app: ASGIApp, *, max_requests: int, max_body_bytes: int, metrics: Metrics
    ) -> None:
        """Wrap an application."""
        self._app, self._metrics = app, metrics
        self._max_requests, self._max_body = max_requests, max_body_bytes
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request that breaks a limit; pass on any other."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._running >= self._max_requests:
            self._metrics.refused.inc()
            response = problem_response(
                scope["path"],
                429,
                f"more than {self._max_requests} requests at once; try again shortly",
                headers={"Retry-After": "1"},
            )
            await response(scope, receive, send)
            return
        self._running += 1
        try:
            await self._limited(scope, receive, send)
        finally:
            self._running -= 1

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body:
            await self._refuse_body(scope, receive, send)
            return
        size, too_long, started = 0, False, False

        async def receive_counted() -> Message:
            nonlocal size, too_long
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_body:
                too_long = True
                raise _TooLongError
            return message

        async def send_unless_too_long(message: Message) -> None:
            nonlocal started
            # The framework answers 400 for a body that it could not read to its end.
            if not too_long or started:
                started = True
                await send(message)

        try:
            await self._app(scope, receive_counted, send_unless_too_long)
        except _TooLongError:
            if started:
                raise
        if too_long and not started:
            await self._refuse_body(scope, receive, send)

    async def _refuse_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(
            scope["path"],
            413,
            f"the body is longer than {self._max_body:,} bytes; send fewer rows at once",
            headers={"Connection": "close"},
        )
        await response(scope, receive, send)
