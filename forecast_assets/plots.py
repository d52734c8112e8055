"""Charts for the UIs, drawn as SVG text.

Nothing heavy is imported, so a refresh can afford it. Contains drawing only: lines with bands, and
bars. What is drawn is decided in `pictures.py`. Dagster shows the charts as Markdown, MLflow as
artifacts.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 28, 34
_COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7f6000")
_GRID, _TEXT = "#d0d0d0", "#404040"
_TICKS = 4


@dataclass(frozen=True)
class Line:
    """Values at the positions 0, 1, 2 …; NaN leaves a gap."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Band:
    """The area between two lines, drawn behind them; NaN leaves a gap."""

    name: str
    low: Sequence[float]
    high: Sequence[float]


def line_chart(
    title: str,
    labels: Sequence[str],
    lines: Sequence[Line],
    bands: Sequence[Band] = (),
    *,
    percent: bool = False,
) -> str:
    """Draw lines over labelled positions, with bands behind them.

    Args:
        title: What the chart shows, with its unit.
        labels: One per position; only as many as fit are drawn.
        lines: Lines with one value per label.
        bands: Bands with one value per label.
        percent: Whether the values are shares to label in percent.

    Returns:
        An SVG document.
    """
    known = [
        value
        for values in (
            *(line.values for line in lines),
            *(band.high for band in bands),
            *(band.low for band in bands),
        )
        for value in values
        if not math.isnan(value)
    ]
    low, high = min([0.0, *known]), max([*known, 1e-9])

    def x(position: int) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * position / max(len(labels) - 1, 1)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)

    parts = _axes(labels, x, y, low, high, percent)
    for k, band in enumerate(bands):
        parts += [
            '<polygon points="'
            + " ".join(
                [f"{x(p):.1f},{y(band.high[p]):.1f}" for p in run]
                + [f"{x(p):.1f},{y(band.low[p]):.1f}" for p in reversed(run)]
            )
            + f'" fill="{_COLOURS[1]}" fill-opacity="{0.15 + 0.12 * k:.2f}"/>'
            for run in _runs([a + b for a, b in zip(band.low, band.high, strict=True)])
        ]
    for k, line in enumerate(lines):
        colour = _COLOURS[k % len(_COLOURS)]
        parts += [
            '<polyline points="'
            + " ".join(f"{x(p):.1f},{y(line.values[p]):.1f}" for p in run)
            + f'" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            for run in _runs(line.values)
        ]
        parts.append(
            _text(WIDTH - _RIGHT - 130 * (len(lines) - k - 1), 16, line.name, "end", colour)
        )
    return _document(title, parts, HEIGHT)


def _axes(
    labels: Sequence[str],
    x: Callable[[int], float],
    y: Callable[[float], float],
    low: float,
    high: float,
    percent: bool,
) -> list[str]:
    """Draw horizontal grid lines with their values, and as many labels as fit."""
    ticks = [low + (high - low) * k / _TICKS for k in range(_TICKS + 1)]
    parts = [
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
        f'stroke="{_GRID}"/>' + _text(_LEFT - 6, y(value) + 4, _number(value, percent), "end")
        for value in ticks
    ]
    every = max(1, math.ceil(len(labels) / 8))
    parts += [
        _text(x(position), HEIGHT - 12, label, "middle")
        for position, label in enumerate(labels)
        if position % every == 0
    ]
    return parts


def bar_chart(title: str, values: Sequence[tuple[str, float]], *, percent: bool = True) -> str:
    """Draw horizontal bars, the first on top.

    Args:
        title: What the chart shows.
        values: Name and value of each bar, none negative.
        percent: Whether the values are shares to label in percent.
    """
    step, label_width = 18, 190
    height = _TOP + step * len(values) + 8
    longest = max([value for _, value in values] + [1e-9])
    parts = []
    for k, (name, value) in enumerate(values):
        top = _TOP + step * k
        width = (WIDTH - label_width - 70) * value / longest
        parts.append(
            _text(label_width - 6, top + 12, name, "end")
            + f'<rect x="{label_width}" y="{top + 2}" width="{width:.1f}" height="{step - 5}" '
            f'fill="{_COLOURS[0]}"/>'
            + _text(label_width + width + 5, top + 12, _number(value, percent), "start")
        )
    return _document(title, parts, height)


def markdown(svg: str, alternative: str) -> str:
    """Return Markdown that shows a picture inline."""
    data = base64.b64encode(svg.encode()).decode()
    return f"![{alternative}](data:image/svg+xml;base64,{data})"


def _runs(values: Sequence[float]) -> list[list[int]]:
    """Split positions into runs without NaN."""
    runs: list[list[int]] = [[]]
    for position, value in enumerate(values):
        if math.isnan(value):
            runs.append([])
        else:
            runs[-1].append(position)
    return [run for run in runs if run]


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"


def _text(x: float, y: float, text: str, anchor: str, colour: str = _TEXT) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _document(title: str, parts: Sequence[str], height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">'
        '<rect width="100%" height="100%" fill="white"/>'
        + _text(_LEFT, 16, title, "start")
        + "".join(parts)
        + "</svg>"
    )
