"""The session of a browser: a cookie that holds the token, so that the server keeps nothing.

A revoked token ends its sessions as well. A cookie goes along with requests that another page makes
a browser send, which a bearer token does not; what such a request may not do is refused here.
"""

from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response

from forecast_service.state import state_of

#: Browsers send a cookie to every port of a host, so each server's has a name of its own.
COOKIE = "forecast-service-session"
#: Methods that change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def session_token(request: Request) -> str:
    """Return the token of the browser's session; empty if it has none."""
    return request.cookies.get(COOKIE, "")


def is_own_page(request: Request) -> bool:
    """Tell whether a page of this very service sent the request.

    The scheme is left out: behind a proxy that ends TLS, the service sees another one.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        # Only a browser sends this header, and no page can set it.
        return request.headers.get("sec-fetch-site") == "same-origin"
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""


def may_change(request: Request, method: str | None = None) -> bool:
    """Tell whether a request with a session, not a bearer token, may do what its method says.

    Args:
        request: The request.
        method: Its method, where a proxy asks about another request; by default its own.
    """
    return (method or request.method) in SAFE_METHODS or is_own_page(request)


def begin(request: Request, response: Response, token: str) -> None:
    """Sign the browser in, until it is closed."""
    response.set_cookie(
        COOKIE,
        token,
        path="/",
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request),
    )


def end(request: Request, response: Response) -> None:
    """Sign the browser out."""
    response.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="strict", secure=_is_encrypted(request)
    )


def _is_encrypted(request: Request) -> bool:
    """Tell whether the browser's own connection has TLS.

    Behind a proxy the settings say so: anybody can send a header that claims it.
    """
    public_url = state_of(request).settings.public_url
    scheme = urlsplit(public_url).scheme if public_url else request.url.scheme
    return scheme == "https"
