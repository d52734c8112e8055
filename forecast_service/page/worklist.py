"""`/`: the stores that need a person today, the most urgent first."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from forecast_service.access import Reader
from forecast_service.page.errors import NOT_YET
from forecast_service.page.rendering import PageRoute, render
from forecast_service.pages import MAX_STORE
from forecast_service.state import state_of
from forecast_service.worklist import service
from forecast_service.worklist.rules import Code
from warehouse.errors import NotYetError

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Stores that a page lists.
PAGE_STORES = 50
#: What people call the reasons, in the order of the filter.
LABELS = {
    Code.MISSING: "Day missing",
    Code.OUTSIDE: "Outside the range",
    Code.ACCURACY: "Accuracy slipped",
    Code.MOVED: "Forecast moved",
    Code.UNSEEN: "Plan never seen",
    Code.ASSUMED: "No plan yet",
    Code.ADJUSTMENT: "Adjustment ends",
    Code.UNUSUAL: "Unusual sales",
    Code.FAILED: "Refresh fails",
}
_FORMATS = (("csv", "CSV"), ("xlsx", "Excel"), ("parquet", "Parquet"))


@router.get("/")
async def worklist(
    request: Request,
    client: Reader,
    reason: Annotated[list[Code], Query(max_length=len(Code))] = [],  # noqa: B006 - copied
    after: Annotated[int, Query(ge=0, le=MAX_STORE)] = 0,
) -> Response:
    """List the stores, or those with some reasons, from a rank on."""
    try:
        ranking = await service.current(state_of(request))
    except NotYetError:
        return await render(request, "worklist.html", page=None, detail=NOT_YET)
    page = service.page(ranking, reason, [], after, PAGE_STORES)
    rest = page["next"] is not None
    return await render(
        request,
        "worklist.html",
        page=page,
        year=page["today"].year,
        labels=LABELS,
        chosen=reason,
        filters=[
            (label, page["counts"][code], code in reason, _address([code]))
            for code, label in LABELS.items()
            if page["counts"].get(code)
        ],
        needing=len(ranking.items),
        first_address=_address(reason) if after else None,
        next_address=_address(reason, page["items"][-1]["rank"]) if rest else None,
        files=[(name, _file_address(reason, kind)) for kind, name in _FORMATS],
    )


def _address(reasons: Sequence[Code], after: int = 0) -> str:
    query: list[tuple[str, str]] = [("reason", code.value) for code in reasons]
    query += [("after", str(after))] if after else []
    return f"/?{urlencode(query)}" if query else "/"


def _file_address(reasons: Sequence[Code], kind: str) -> str:
    query = [("format", kind), *(("reason", code.value) for code in reasons)]
    return f"/v1/worklist?{urlencode(query)}"
