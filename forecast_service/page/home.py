"""`/`: the first page that somebody sees."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.page.rendering import PageRoute, go_to

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def home(request: Request, client: Reader) -> Response:
    """Go to the stores."""
    return go_to("/stores")
