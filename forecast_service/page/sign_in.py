"""`/sign-in` and `/sign-out`: a token becomes the session of a browser.

The link that the embedded stack prints has its token behind a `#`. A browser keeps that part of an
address to itself, so no server, proxy or log sees it; the page's script puts it into the form and
takes it out of the address.
"""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service import sessions
from forecast_service.access import client_of
from forecast_service.page.rendering import SIGN_IN, PageRoute, go_to, render
from forecast_service.problems import ServiceError

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Longest address to go back to.
_LONGEST = 4_000
Next = Annotated[str, Query(max_length=_LONGEST)]


@router.get(SIGN_IN)
async def sign_in_page(request: Request, next: Next = "/") -> Response:
    """Show the form that takes a token."""
    return await render(request, "sign_in.html", next=own_address(next), problem=None)


@router.post(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """Begin a session if the token is valid."""
    _refuse_other_sites(request)
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    token, address = (form.get(name, [""])[0].strip() for name in ("token", "next"))
    address = own_address(address[:_LONGEST])
    if await client_of(request, token) is None:
        return await render(
            request,
            "sign_in.html",
            401,
            next=address,
            problem="This token is not valid, or it was revoked.",
        )
    response = go_to(address)
    sessions.begin(request, response, token)
    return response


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    _refuse_other_sites(request)
    response = go_to(SIGN_IN)
    sessions.end(request, response)
    return response


def own_address(address: str) -> str:
    """Return an address of this service as it is, `/` instead of any other.

    What begins with two slashes, or with a backslash after the first, leads to another host.
    """
    is_own = address.startswith("/") and address[1:2] not in ("/", "\\") and address.isprintable()
    return address if is_own else "/"


def _refuse_other_sites(request: Request) -> None:
    if not sessions.is_own_page(request):
        raise ServiceError(403, "Another site sent this form. Open the page itself and try again.")
