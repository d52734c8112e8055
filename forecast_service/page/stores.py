"""`/stores`: every store, and the way to one by its number."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.forecasts import service
from forecast_service.page.rendering import PageRoute, go_to, render
from forecast_service.pages import MAX_STORES, Store
from forecast_service.state import state_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/stores")
async def stores(
    request: Request, client: Reader, store: Annotated[Store | None, Query()] = None
) -> Response:
    """List the stores, or go to the one whose number was entered."""
    if store is not None:
        return go_to(f"/stores/{store}")
    page = await service.stores_page(state_of(request), 0, MAX_STORES)
    return await render(request, "stores.html", stores=page["items"])
