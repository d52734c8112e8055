"""uPlot, which draws the charts, served from the jar that `make setup` fetches.

The file is checked against the version that the pages were made with: what browsers run comes from
there and nowhere else. Without it, tables show everything that charts would.
"""

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from forecast_service.page.rendering import SECURITY_HEADERS
from forecast_service.problems import ServiceError
from forecast_service.state import state_of

router = APIRouter(include_in_schema=False)

SHA256 = "35b1d5d332ae25876ebd3b96c4a6180f29bec7675ad22dda9d3dc803691d19c9"
_FOLDER = "META-INF/resources/webjars/uplot/1.6.30/dist"
#: What browsers ask for -> the file in the jar, and its type.
FILES = {
    "uplot.js": (f"{_FOLDER}/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "uplot.css": (f"{_FOLDER}/uPlot.min.css", "text/css; charset=utf-8"),
}


@router.get("/static/charts/{name}")
async def file(request: Request, name: str) -> Response:
    """Return a file of uPlot; browsers keep it, since its version is in its address."""
    if name not in FILES:
        raise ServiceError(404, f"there is no {name[:40]!r}: uplot.js and uplot.css there are")
    try:
        body = read(state_of(request).settings.charts_jar, FILES[name][0])
    except ChartsError as error:
        raise ServiceError(503, str(error)) from None
    headers = {**SECURITY_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(body, 200, headers, FILES[name][1])


class ChartsError(Exception):
    """The jar is missing or another one; the message says what to do."""


@cache
def read(jar: Path, name: str) -> bytes:
    """Return a file of the jar.

    Raises:
        ChartsError: There is no such jar, or it is another version.
    """
    try:
        content = jar.read_bytes()
    except OSError as error:
        raise ChartsError(
            f"no charts: {jar.name} cannot be read ({error.strerror}); run `make setup`, or set "
            "SERVICE_CHARTS_JAR to the file"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ChartsError(
            f"no charts: {jar.name} is not uPlot 1.6.30 as published; delete it and run "
            "`make setup`"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)
