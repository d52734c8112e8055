"""Charts so small that Dagster's overview of an asset shows them inline.

Dagster shows Markdown of fewer than 1,000 characters as it is, and hides longer Markdown behind a
button. The charts with axes and labels are in `plots.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from forecast_assets.plots import Band, Line

#: Dagster's overview shows shorter Markdown inline.
INLINE_CHARACTERS = 1_000

WIDTH, HEIGHT = 280, 70
_TEXT_HEIGHT = 12
_COLOURS = ("#1f4e79", "#c55a11")

#: What needs no encoding in the address of a picture inside Markdown.
_SAFE = "/:=',;.-+"

#: A curve's points: position and value.
_Points = list[tuple[int, float]]


def thumbnail(
    alternative: str, lines: Sequence[Line], band: Band | None = None, *, text: str = ""
) -> str:
    """Draw a chart whose curves are thinned out until Dagster shows it inline.

    Args:
        alternative: What the chart shows, for those who cannot see it.
        lines: At most two lines over the same positions; NaN leaves a gap.
        band: The area to draw behind them.
        text: A short text above the chart.

    Returns:
        Markdown with the picture inline, shorter than `INLINE_CHARACTERS`.

    Raises:
        ValueError: The texts alone are too long.
    """
    for every in range(1, len(lines[0].values) + 2):
        svg = _draw(lines, band, text, every)
        # Percent-encoded, it stays shorter than as base64.
        picture = f"![{alternative}](data:image/svg+xml,{quote(svg, safe=_SAFE)})"
        if len(picture) < INLINE_CHARACTERS:
            return picture
    raise ValueError(f"{text!r} is too long for a chart of {INLINE_CHARACTERS} characters")


def _draw(lines: Sequence[Line], band: Band | None, text: str, every: int) -> str:
    edges = (band.low, band.high) if band is not None else ()
    known = [
        value
        for values in (*(line.values for line in lines), *edges)
        for value in values
        if not math.isnan(value)
    ]
    highest = max([*known, 1e-9])
    count = len(lines[0].values)

    def path(points: _Points) -> str:
        return _path([(_x(p, count), _y(value, highest)) for p, value in points])

    parts = []
    if band is not None and (low := _known(band.low)) and (high := _known(band.high)):
        # A band may be coarser than the lines in front of it.
        outline = path(_thin(high, 2 * every)), path(_thin(low, 2 * every)[::-1])
        parts.append(
            f"<path fill='{_COLOURS[1]}' fill-opacity='.3' d='{outline[0]}L{outline[1][1:]}z'/>"
        )
    for colour, line in zip(_COLOURS, lines, strict=False):
        if points := _known(line.values):
            drawn = path(_thin(points, every))
            parts.append(f"<path fill='none' stroke='{colour}' d='{drawn}'/>")
    label = f"<text y='9' font-size='9'>{escape(text)}</text>" if text else ""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{2 * WIDTH}' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}'>{label}{''.join(parts)}</svg>"
    )


def _known(values: Sequence[float]) -> _Points:
    return [(p, value) for p, value in enumerate(values) if not math.isnan(value)]


def _thin(points: _Points, every: int) -> _Points:
    """Keep every so many points, and the last one."""
    return points[:-1:every] + points[-1:]


def _x(position: int, count: int) -> int:
    return round(WIDTH * position / max(count - 1, 1))


def _y(value: float, highest: float) -> int:
    bottom = HEIGHT - 1
    return round(bottom - (bottom - _TEXT_HEIGHT) * max(value, 0.0) / highest)


def _path(points: Sequence[tuple[int, int]]) -> str:
    """Write a curve as one absolute and many relative positions, which are shorter."""
    first, *others = points
    moves: Iterable[tuple[int, int]] = (
        (x - a, y - b) for (a, b), (x, y) in zip(points, others, strict=False)
    )
    steps = ",".join(f"{dx},{dy}" for dx, dy in moves)
    # A minus sign separates numbers, too.
    return f"M{first[0]},{first[1]}" + (f"l{steps}".replace(",-", "-") if steps else "")
