"""Who may use an endpoint: dependencies that ask for a token with a scope.

A program sends its token as bearer token, a browser in the cookie of its session.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from forecast_service import sessions
from forecast_service.problems import ServiceError
from forecast_service.state import state_of
from forecast_service.tokens import Client, Scope

#: Longest header that can hold a token.
_LONGEST = 200
_bearer = HTTPBearer(auto_error=False, description="A token of `python -m forecast_service token`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def client_of(request: Request, token: str) -> Client | None:
    """Return whose token it is; None if it is nobody's."""
    if not 0 < len(token) <= _LONGEST:
        return None
    return await state_of(request).tokens.client(token)


def require(scope: Scope) -> Callable[..., Awaitable[Client]]:
    """Return a dependency that lets in tokens with a scope.

    Args:
        scope: `read`, `plan` (adjust and plan), `train` (retrain and refresh) or `operate` (pass
            a proxy to Dagster, MLflow and Grafana).
    """

    async def authorized(request: Request, credentials: Credentials) -> Client:
        return await authorize(request, credentials, scope)

    return authorized


async def authorize(
    request: Request,
    credentials: HTTPAuthorizationCredentials | None,
    scope: Scope,
    method: str | None = None,
) -> Client:
    """Return who sent a request that may do what its scope and method say.

    Args:
        request: The request.
        credentials: Its bearer token.
        scope: What it needs.
        method: Its method, where a proxy asks about another request; by default its own.

    Raises:
        ServiceError: It may not.
    """
    # Who sends any `Authorization` means that one, even if it is not a bearer token.
    by_session = "authorization" not in request.headers
    token = credentials.credentials if credentials else ""
    client = await client_of(request, sessions.session_token(request) if by_session else token)
    if client is None:
        raise ServiceError(
            401,
            "send a valid token as `Authorization: Bearer …`; "
            "`python -m forecast_service token create` makes one",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if by_session and not sessions.may_change(request, method):
        raise ServiceError(
            403,
            "a page of another site sent this request in your session's name; programs send "
            "`Authorization: Bearer …` instead of the cookie",
        )
    request.state.client, request.state.scopes = client.name, client.scopes
    if scope not in client.scopes:
        raise ServiceError(
            403,
            f"the token {client.name!r} lacks the scope {scope!r}; "
            f"it has {', '.join(sorted(client.scopes))}",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )
    return client


async def watcher(request: Request, credentials: Credentials) -> None:
    """Let in Prometheus by `METRICS_TOKEN`, which opens nothing else, and any reader.

    The database is not asked for Prometheus's token: metrics matter most when it is away.
    """
    own = state_of(request).settings.metrics_token
    if own is not None and credentials is not None:
        given = credentials.credentials.encode("utf-8", "surrogatepass")
        if hmac.compare_digest(given, own.get_secret_value().encode()):
            return
    await require("read")(request, credentials)


Reader = Annotated[Client, Depends(require("read"))]
Planner = Annotated[Client, Depends(require("plan"))]
Trainer = Annotated[Client, Depends(require("train"))]
