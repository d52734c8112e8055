"""Small pictures stay below the length that Dagster shows inline, and are well-formed."""

import math
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from forecast_assets.pictures import draw_accuracy, draw_small_forecast
from forecast_assets.plots import Band, Line
from forecast_assets.thumbnails import INLINE_CHARACTERS, WIDTH, thumbnail
from forecasting.columns import QUANTILE_COLUMNS
from forecasting.evaluation.accuracy import SUMS

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture: str) -> ElementTree.Element:
    """Read a picture as a browser does: Markdown's address has no space or bracket in it."""
    assert len(picture) < INLINE_CHARACTERS
    found = re.fullmatch(r"!\[[^\]]*\]\(data:image/svg\+xml,([^\s()]+)\)", picture)
    assert found is not None, picture
    return ElementTree.fromstring(unquote(found[1]))  # noqa: S314  (our own text)


def end_of(path: str) -> tuple[int, int]:
    """Follow a path of one absolute and many relative positions to its end."""
    start, _, moves = path.removeprefix("M").partition("l")
    numbers = [int(n) for n in re.findall(r"-?\d+", moves)]
    x, y = map(int, start.split(","))
    return x + sum(numbers[::2]), y + sum(numbers[1::2])


@pytest.mark.parametrize("horizon", [1, 42, 366])
def test_a_forecast_is_drawn_beside_its_past(horizon: int) -> None:
    rng = np.random.default_rng(1)
    origin = pd.Timestamp("2015-06-12")
    past = pd.date_range("2015-01-01", origin)
    days = pd.DataFrame({"store": 1115, "date": past, "sales": rng.integers(0, 40_000, len(past))})
    dates = pd.date_range(origin + pd.Timedelta(days=1), periods=horizon)
    rows = pd.DataFrame({"store": 1115, "origin": origin, "date": dates})
    rows["point"] = rng.uniform(0, 40_000, horizon)
    for k, name in enumerate(QUANTILE_COLUMNS):
        rows[name] = rows["point"] * (0.5 + 0.1 * k)
    picture = drawn(draw_small_forecast(days, rows, 1115))
    band, sold, forecast = (path.attrib["d"] for path in picture.findall(f"{SVG}path"))
    assert band.endswith("z")
    assert end_of(sold)[0] < int(forecast[1:].split(",")[0]), "the forecast begins after the past"
    assert end_of(forecast)[0] == WIDTH
    (text,) = picture.findall(f"{SVG}text")
    assert text.text == f"Store 1115: sold, and {horizon} days from 2015-06-12"


def test_accuracy_is_drawn_by_lead_week() -> None:
    def sums(kind: str, week: int, error: float) -> dict[str, object]:
        row: dict[str, object] = dict.fromkeys(SUMS, 1.0)
        return row | {"kind": kind, "lead_week": week, "sales": 10.0, "absolute_error": error}

    assert draw_accuracy([]) == {}
    assert draw_accuracy([sums("issued", 1, 0.0) | {"sales": 0.0}]) == {}, "nothing was sold"
    backtests = [sums("backtest", 1, 9.0)]
    issued = [sums("issued", week, 0.5 + week / 10) for week in range(1, 7)]
    pictures = draw_accuracy(backtests + issued)
    assert pictures.keys() == {"picture", "by_lead_time"}
    (text,) = drawn(pictures["picture"]).findall(f"{SVG}text")
    assert text.text is not None
    assert text.text.startswith("WAPE of issued forecasts by weeks ahead: 6.0% 7.0%")
    many = [sums("issued", week, 0.5) for week in range(1, 54)]
    drawn(draw_accuracy(many)["picture"])


def test_gaps_and_markup_do_no_harm() -> None:
    gap = math.nan
    drawn(thumbnail("x", [Line("a", [gap, gap])], Band("b", [gap, gap], [gap, gap]), text="<'&\">"))
    drawn(thumbnail("x", [Line("a", [0.0])]))
    with pytest.raises(ValueError, match="too long"):
        thumbnail("x", [Line("a", [1.0, 2.0])], text="a" * INLINE_CHARACTERS)
