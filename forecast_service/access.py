"""Who may use an endpoint: dependencies that ask for a token with a scope."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from forecast_service.problems import ServiceError
from forecast_service.state import state_of
from forecast_service.tokens import Client, Scope

#: Longest header that can hold a token.
_LONGEST = 200
_bearer = HTTPBearer(auto_error=False, description="A token of `python -m forecast_service token`.")


def require(scope: Scope) -> Callable[..., Awaitable[Client]]:
    """Return a dependency that lets in tokens with a scope.

    Args:
        scope: `read`, `plan` (adjust and plan) or `train` (retrain and refresh).
    """

    async def authorized(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Client:
        token = credentials.credentials if credentials else ""
        valid = 0 < len(token) <= _LONGEST
        client = await state_of(request).tokens.client(token) if valid else None
        if client is None:
            raise ServiceError(
                401,
                "send a valid token as `Authorization: Bearer …`; "
                "`python -m forecast_service token create` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.client = client.name
        if scope not in client.scopes:
            raise ServiceError(
                403,
                f"the token {client.name!r} lacks the scope {scope!r}; "
                f"it has {', '.join(sorted(client.scopes))}",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
        return client

    return authorized


Reader = Annotated[Client, Depends(require("read"))]
Planner = Annotated[Client, Depends(require("plan"))]
Trainer = Annotated[Client, Depends(require("train"))]
