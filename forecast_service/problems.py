"""Errors as RFC 9457 problem documents, of one shape for everything that can go wrong.

A problem names what is wrong, where (field and bound), and what to do. It never holds a value that
a client sent, nor a stack trace.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forecast_service.telemetry import request_id
from warehouse.connection import SERVERS_FAULT
from warehouse.errors import ModelError, NotFoundError, NotYetError

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client may try again, by what is away.
RETRY_SECONDS = 2
#: Errors that mean the sales database is away.
DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    *SERVERS_FAULT,
)
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    502: "Another service failed",
    503: "Temporarily unavailable",
}
#: The parts of a validation error's context that are bounds.
_BOUNDS = (
    *("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "expected"),
    *("multiple_of", "actual_length"),
)
_log = logging.getLogger("forecast_service")


class FieldError(BaseModel):
    """One invalid field of a request."""

    field: str = Field(description="Where the field is, such as `query.days` or `body.0.store_id`.")
    message: str
    bounds: dict[str, Any] = Field(default_factory=dict, description="The bounds it broke.")


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    request_id: str = Field(description="The id under which the service logged the request.")
    errors: list[FieldError] | None = None


class ServiceError(Exception):
    """An error with the status to answer with."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] | None = None,
    ) -> None:
        """Remember what to answer.

        Args:
            status: The HTTP status.
            detail: What is wrong and what to do.
            headers: Further headers of the answer.
            errors: The invalid fields, if that is what is wrong.
        """
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers, self.errors = dict(headers or {}), errors


def invalid(field: str, message: str, **bounds: Any) -> ServiceError:
    """Return the error of one field that only a look at the data shows to be invalid."""
    return ServiceError(
        422,
        f"{field}: {message}",
        errors=[FieldError(field=field, message=message, bounds=bounds)],
    )


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a query with a name that the endpoint does not know.

    A misspelt filter would be no filter, and the answer one about all stores.

    Raises:
        ServiceError: There is such a name.
    """
    operation = request.app.openapi()["paths"][request.scope["route"].path]
    described = operation[request.method.lower()].get("parameters", [])
    known = {entry["name"] for entry in described if entry["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise invalid(f"query.{name}", f"is no parameter of this endpoint; it has: {listed}")


def unavailable(detail: str, seconds: int = RETRY_SECONDS) -> ServiceError:
    """Return the error of something that is away and comes back."""
    return ServiceError(503, detail, headers={"Retry-After": str(seconds)})


def problem_response(
    path: str,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] | None = None,
) -> Response:
    """Return a problem document as a response."""
    problem = Problem(
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=detail,
        instance=path,
        request_id=request_id(),
        errors=list(errors) if errors else None,
    )
    return Response(
        to_json(problem, exclude_none=True),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        MEDIA_TYPE,
    )


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""

    @app.exception_handler(ServiceError)
    async def service_error(request: Request, error: ServiceError) -> Response:
        return problem_response(
            request.url.path,
            error.status,
            error.detail,
            headers=error.headers,
            errors=error.errors,
        )

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        errors = [_field_error(entry) for entry in error.errors()]
        listed = "; ".join(f"{entry.field}: {entry.message}" for entry in errors[:5])
        return problem_response(request.url.path, 422, listed, errors=errors)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        detail = {
            404: "there is nothing at this path; /docs lists the endpoints",
            405: "this path does not take this method; /docs lists the endpoints",
        }.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        return problem_response(request.url.path, error.status_code, detail, headers=headers)

    @app.exception_handler(NotFoundError)
    async def not_found(request: Request, error: NotFoundError) -> Response:
        headers = {"Retry-After": "30"} if isinstance(error, NotYetError) else None
        return problem_response(request.url.path, 404, str(error), headers=headers)

    @app.exception_handler(ModelError)
    async def unreadable_model(request: Request, error: ModelError) -> Response:
        return problem_response(request.url.path, 409, str(error))

    async def database_error(request: Request, error: Exception) -> Response:
        return database_problem(request.url.path, error)

    for kind in (*DATABASE_AWAY, psycopg.errors.QueryCanceled):
        app.add_exception_handler(kind, database_error)


def _allowed(request: Request, known: str) -> str:
    """Return the methods of a path; the framework names those of the first route alone."""
    methods: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        if compile_path(template)[0].match(request.url.path):
            methods |= {method.upper() for method in operations}
    return ", ".join(sorted(methods)) or known


def database_problem(path: str, error: Exception) -> Response:
    """Return the problem of a database that is away or too slow, and log the reason."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        detail = "the database took too long: ask for fewer stores or days"
    else:
        detail = "the sales database does not answer; try again shortly"
    _log.warning(
        "database",
        extra={"fields": {"error": type(error).__name__, "reason": str(error).splitlines()[:1]}},
    )
    return problem_response(path, 503, detail, headers={"Retry-After": str(RETRY_SECONDS)})


class Unexpected:
    """An ASGI layer that answers what nothing else has handled, and logs it.

    Starlette's own layer for that lies outside all others, so its answers have no request id.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 500 if it raises."""
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            _log.exception("unexpected", extra={"fields": {"request_id": request_id()}})
            if started or scope["type"] != "http":
                raise
            response = problem_response(
                scope["path"],
                500,
                "something unexpected happened; the log has it under this request's id",
            )
            await response(scope, receive, send)


def _field_error(entry: Mapping[str, Any]) -> FieldError:
    context = entry.get("ctx") or {}
    bounds = {
        name: value if isinstance(value, int | float | bool) else str(value)
        for name, value in context.items()
        if name in _BOUNDS
    }
    return FieldError(
        field=".".join(str(part) for part in entry["loc"]),
        message=plain_message(entry),
        bounds=bounds,
    )


def plain_message(entry: Mapping[str, Any]) -> str:
    """Return the message of a validation error, without what pydantic puts before our own words."""
    return str(entry["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
