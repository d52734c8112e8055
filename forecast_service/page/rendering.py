"""Templates, and what every page has in common: headers, notices, errors in HTML."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import jinja2
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from forecast_service.page import errors, sentences
from forecast_service.page.notices import notices
from forecast_service.problems import DATABASE_AWAY, ServiceError
from forecast_service.state import state_of
from warehouse.errors import ModelError, NotFoundError, NotYetError

HERE = Path(__file__).parent
STATIC = HERE / "static"
SIGN_IN = "/sign-in"
#: What a page may load and do: nothing inline, nothing from elsewhere.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
        *("connect-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"),
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With `no-referrer`, browsers would send forms of these very pages with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
#: Address and name of the pages that the navigation lists.
PAGES = (("/", "Worklist"), ("/chain", "Chain"), ("/stores", "Stores"))
_TITLES = {
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    422: "This address is not right",
    503: "Temporarily unavailable",
}


@jinja2.pass_context
def _weekday_date(context: Mapping[str, Any], day: date) -> str:
    """Return a day like `Fri 19 Jun`; the script writes it in the browser's language.

    The page's `year` goes without saying.
    """
    return sentences.day_name(day, context["year"])


def _months(text: str | None) -> str:
    """Return months like `Mar, Jun, Sept, Dec`, which are stored without spaces."""
    return ", ".join(part.strip() for part in text.split(",")) if text else "–"


def _number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators; the script writes it as the browser's locale."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _signed(value: float | None, digits: int = 0) -> str:
    """Return a number with its sign, a real minus included; none for what rounds to nothing."""
    if value is None:
        return "–"
    rounded = round(value, digits)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"


def _percent(value: float | None, digits: int = 0) -> str:
    """Return a share as a percentage."""
    return "–" if value is None else f"{100 * value:,.{digits}f} %"


_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    enable_async=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    day=_weekday_date,
    days_ahead=sentences.days_ahead,
    months=_months,
    number=_number,
    signed=_signed,
    percent=_percent,
)


async def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Return a page.

    Args:
        request: The request. A page of somebody signed in has the notices and the navigation.
        template: A file of `templates/`, which extends `layout.html`.
        status: The HTTP status.
        context: What the template shows.
    """
    client = getattr(request.state, "client", None)
    text = await _templates.get_template(template).render_async(
        **{
            "client": client,
            "scopes": getattr(request.state, "scopes", frozenset()),
            "notices": await notices(state_of(request)) if client else [],
            "pages": PAGES,
            "path": request.url.path,
            # A page whose sales are known to a day says so, and means that day's year.
            "year": datetime.now(UTC).year,
        }
        | context
    )
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return Response(text, status, headers, "text/html; charset=utf-8")


#: The errors that `_explain` knows. Any other is a fault, which the outermost layer answers.
_ERRORS = (
    *(ServiceError, RequestValidationError, NotFoundError, ModelError),
    *(*DATABASE_AWAY, psycopg.errors.QueryCanceled),
)


class PageRoute(APIRoute):
    """A route of a page: who is not signed in goes to the sign-in, errors are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with errors turned into pages."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            try:
                return await handle(request)
            except _ERRORS as error:
                status, detail = _explain(error)
                if status == 401:
                    here, query = request.url.path, request.url.query
                    return to_sign_in(f"{here}?{query}" if query else here)
                title = "Not yet" if isinstance(error, NotYetError) else _TITLES.get(status)
                return await _error_page(request, status, title, detail)

        return handle_page


def add_error_pages(app: FastAPI) -> None:
    """Answer a browser that asks for what is not there with a page; programs get a problem."""
    to_problem = cast(
        Callable[[Request, Exception], Awaitable[Response]], app.exception_handlers[HTTPException]
    )

    async def missing(request: Request, error: Exception) -> Response:
        status = cast(HTTPException, error).status_code
        if status == 404 and wants_page(request, request.method):
            return await _error_page(
                request, 404, "There is no such page", "Nothing is at this address."
            )
        return await to_problem(request, error)

    app.add_exception_handler(HTTPException, missing)


def wants_page(request: Request, method: str) -> bool:
    """Tell whether a browser asks for a page; a script's `fetch` and other programs do not."""
    return method in ("GET", "HEAD") and request.headers.get("accept", "").startswith("text/html")


class Static(StaticFiles):
    """The pages' styles and scripts. Browsers keep them, and ask whether they are still right."""

    async def get_response(self, path: str, scope: AsgiScope) -> Response:
        """Return a file with the headers of pages."""
        response = await super().get_response(path, scope)
        response.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-cache"})
        return response


def to_sign_in(address: str) -> Response:
    """Return the way to the sign-in and back to an address."""
    return go_to(f"{SIGN_IN}?next={quote(address, safe='')}")


def go_to(address: str) -> Response:
    """Return the way to another page, after a form or from an address that is none itself."""
    return RedirectResponse(address, 303, {**SECURITY_HEADERS, "Cache-Control": "no-store"})


def _explain(error: Exception) -> tuple[int, str]:
    """Return the status of an error, and what is wrong."""
    match error:
        case ServiceError():
            return error.status, errors.without_commands(error.detail)
        case RequestValidationError():
            return 422, errors.invalid_address(error)
        case NotFoundError():
            return 404, errors.missing(error)
        case ModelError():
            return 409, errors.without_commands(str(error))
    return 503, (
        "The sales database does not answer, or takes too long. Nothing is lost: load this page "
        "again shortly."
    )


async def refusal_page(request: Request, error: ServiceError) -> Response:
    """Return the page that says why somebody who is signed in may not do something."""
    status, detail = _explain(error)
    return await _error_page(request, status, _TITLES.get(status), detail)


async def _error_page(request: Request, status: int, title: str | None, detail: str) -> Response:
    title = title or "Something is wrong"
    response = await render(request, "error.html", status, title=title, detail=detail)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response
