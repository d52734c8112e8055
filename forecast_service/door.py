"""What a reverse proxy asks in front of Dagster, MLflow and Grafana: may this request pass?

nginx's `auth_request` sends each request's headers here first (`deploy/nginx`), so a session of the
pages, or a bearer token, opens all of them. The proxy keeps these paths to itself; whoever reaches
the service without it learns from them what the own token may do, and nothing else.
"""

from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from forecast_service.access import Credentials, authorize
from forecast_service.page.rendering import refusal_page, to_sign_in, wants_page
from forecast_service.problems import ServiceError, unavailable
from forecast_service.tokens import Scope

router = APIRouter(prefix="/door", include_in_schema=False)

#: What the proxy says of the request that it asks about.
METHOD, ADDRESS, UPGRADE = "x-original-method", "x-original-uri", "x-original-upgrade"
#: Who sent the request, for the proxy's log; signs that no header can hold are percent-encoded.
CLIENT = "X-Client-Name"
#: Stands for a request that opens a WebSocket: it is a GET, and can change things afterwards.
_WEBSOCKET = "WEBSOCKET"


@router.get("/may/{scope}")
async def may(request: Request, credentials: Credentials, scope: Scope) -> Response:
    """Say whether a request has a scope, with 204, 401 or 403; why, `refused` says."""
    try:
        client = await authorize(request, credentials, scope, _method(request))
    except ServiceError as error:
        return Response(status_code=error.status, headers={"Cache-Control": "no-store"})
    return Response(
        status_code=204, headers={CLIENT: quote(client.name), "Cache-Control": "no-store"}
    )


@router.api_route("/refused/{scope}", methods=["GET", "HEAD"])
async def refused(request: Request, credentials: Credentials, scope: Scope) -> Response:
    """Say why a request may not pass; send a browser without a session to the sign-in."""
    try:
        await authorize(request, credentials, scope, _method(request))
    except ServiceError as error:
        if not wants_page(request, _method(request)):
            raise
        if error.status == 401:
            return to_sign_in(request.headers.get(ADDRESS, "/"))
        return await refusal_page(request, error)
    # The token was made, or its database came back, between both questions.
    raise unavailable("you may pass now: send the request again", 1)


def _method(request: Request) -> str:
    """Return the method of the request that the proxy asks about."""
    if request.headers.get(UPGRADE):
        return _WEBSOCKET
    return request.headers.get(METHOD, "GET")
