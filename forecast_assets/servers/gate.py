"""The gate in front of a web server: whose requests get in.

It wraps an ASGI application and knows nothing about it. It refuses other sites first (a page in the
owner's browser may not act in the owner's name, signed in or not), then whoever has no token (other
users of the machine). What each server needs beside that is in the server's own module.
"""

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Collection
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

#: The query parameter of a sign-in link.
TOKEN_PARAMETER = "token"  # noqa: S105 - a name
#: Characters that a token has at least; `secrets.token_urlsafe(24)` makes 32.
TOKEN_CHARACTERS = 16
#: WebSocket close code for a refused policy; before the handshake, the server answers 403.
POLICY_VIOLATION = 1008
#: The only types of a GraphQL request's body: a page of another site cannot send them unasked.
GRAPHQL_TYPES = ("application/json", "application/graphql")


class Gate:
    """An ASGI application that passes on only what its owner asked for.

    A request gets in when its `Host` is one of ours, its `Origin`, if any, is one of ours, the
    browser does not call it cross-site (a link to a page is fine), and it brings the token: in the
    cookie that a sign-in link sets, as bearer token, or as the password of HTTP basic
    authentication with any user name.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        token: str,
        name: str,
        graphql_paths: Collection[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            hosts: The values of `Host` that are ours, like `127.0.0.1:3000`.
            token: The secret that lets in.
            name: What the server is called, in messages and in the cookie's name.
            graphql_paths: Paths that execute GraphQL. They take POST alone: a GET with a mutation
                would change things from a link or an image.

        Raises:
            ValueError: The token is too short, or there is no host.
        """
        if len(token) < TOKEN_CHARACTERS:
            raise ValueError(f"the token of {name} has fewer than {TOKEN_CHARACTERS} characters")
        if not hosts:
            raise ValueError(f"{name} needs at least one allowed host")
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(
            f"{scheme}://{host}" for host in self._hosts for scheme in ("http", "https")
        )
        self._token = token
        self._name = name
        self._graphql_paths = frozenset(graphql_paths)
        self._cookie = session_cookie(name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request; pass on any other."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = self._answer(HTTPConnection(scope))
        if answer is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await answer(scope, receive, send)

    def _answer(self, request: HTTPConnection) -> Response | None:
        """Return the gate's own answer, None for a request that gets in."""
        is_page = _opens_page(request)
        foreign = self._foreign(request.headers, is_page)
        if foreign is not None:
            return _text(403, f"{self._name} refuses this request: {foreign}.")
        # First, so that the token leaves the address of who is signed in already, too.
        if is_page and self._is_token(request.query_params.get(TOKEN_PARAMETER, "")):
            return self._sign_in(request)
        if self._is_signed_in(request):
            is_graphql = request.scope["path"] in self._graphql_paths
            return _refuse_unsafe_graphql(request) if is_graphql else None
        return _text(
            401,
            f"{self._name} asks for its token: open the sign-in link that `make status` shows, or "
            "send the token as bearer token or as password of basic authentication.",
            # The browser then asks for a password: any user name, and the token.
            {"WWW-Authenticate": f'Basic realm="{self._name}", charset="UTF-8"'},
        )

    def _foreign(self, headers: Headers, is_page: bool) -> str | None:
        """Return why a request is another site's, None for one of ours."""
        # A name that another site made resolve to this machine is in Host.
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return f"its Host is {', '.join(hosts) or 'missing'}, not {_listed(self._hosts)}"
        for origin in headers.getlist("origin"):
            if origin.lower() not in self._origins:
                return f"its Origin is {origin}"
        site = headers.get("sec-fetch-site", "none")
        # "same-site" is another port of this machine: another server, maybe another user's.
        if site not in ("none", "same-origin") and not is_page:
            return f"a page of another site sent it ({site})"
        return None

    def _is_signed_in(self, request: HTTPConnection) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(credentials.strip())
        if scheme.lower() == "basic":
            return self._is_token(_basic_password(credentials))
        return self._is_token(request.cookies.get(self._cookie, ""))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _sign_in(self, request: HTTPConnection) -> Response:
        """Set the cookie and go on to the same page without the token in its address.

        Not by a redirect: when the link is on a page of another site (a terminal in the browser,
        say), a redirect still counts as that site's, and the browser would hold back the cookie.
        """
        others = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        query = urlencode([pair for pair in others if pair[0] != TOKEN_PARAMETER])
        # One slash: an address that begins with two leads to another host.
        address = "/" + quote(request.scope["path"].lstrip("/")) + (f"?{query}" if query else "")
        answer = HTMLResponse(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(address)}">',
            headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"},
        )
        answer.set_cookie(self._cookie, self._token, path="/", httponly=True, samesite="strict")
        return answer


def session_cookie(name: str) -> str:
    """Return the name of a server's cookie.

    Browsers send a cookie to every port of a host, so each server's has a name of its own.
    """
    return f"{name}-session"


def allowed_hosts(host: str, port: int, further: Collection[str]) -> list[str]:
    """Return the values of `Host` under which a server is reached.

    Args:
        host: The address that it listens on.
        port: Its port.
        further: More values, for a server that is reached by other names or through a proxy.
    """
    names = {host, "127.0.0.1", "localhost"} - {"0.0.0.0", "::"}  # noqa: S104 - taken out
    return sorted({f"{name}:{port}" for name in names} | set(further))


def _opens_page(request: HTTPConnection) -> bool:
    """Tell whether the request opens a page in a tab (a followed link, a typed address).

    A program that sends no `Sec-Fetch` headers counts as well: it is no browser of today.
    """
    headers = request.headers
    return (
        request.scope["type"] == "http"
        and request.scope["method"] == "GET"
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )


def _refuse_unsafe_graphql(request: HTTPConnection) -> Response | None:
    """Refuse GraphQL that a page of another site could send without asking first."""
    if request.scope["type"] != "http":
        return None  # A WebSocket, whose Origin has been checked.
    if request.scope["method"] != "POST":
        if request.scope["method"] == "GET" and "text/html" in request.headers.get("accept", ""):
            return None  # The editor of queries; it executes none.
        return _text(405, "Send GraphQL by POST, as application/json.", {"Allow": "POST"})
    types = [value.partition(";")[0].strip() for value in request.headers.getlist("content-type")]
    if len(types) != 1 or types[0].lower() not in GRAPHQL_TYPES:
        return _text(415, f"Send GraphQL as {' or '.join(GRAPHQL_TYPES)}.")
    return None


def _basic_password(credentials: str) -> str:
    try:
        return b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (Base64Error, UnicodeDecodeError):
        return ""


def _text(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(
        message + "\n", status, {"Cache-Control": "no-store", **(headers or {})}
    )


def _listed(hosts: Collection[str]) -> str:
    return " or ".join(sorted(hosts))


def sign_in_link(url: str, token: str) -> str:
    """Return the sign-in link of a server: its address with the token, for its owner alone."""
    return f"{url.rstrip('/')}/?{urlencode({TOKEN_PARAMETER: token})}"
