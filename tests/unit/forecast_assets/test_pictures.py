"""The picture of a store shows its past and its future side by side."""

import base64
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from forecast_assets.pictures import HISTORY_DAYS, draw_forecast
from forecasting.columns import QUANTILE_COLUMNS

SVG = "{http://www.w3.org/2000/svg}"
ORIGIN = pd.Timestamp("2015-06-12")


def test_history_forecast_and_both_intervals_are_drawn() -> None:
    dates = pd.date_range("2015-01-01", ORIGIN)
    days = pd.DataFrame({"store": 7, "date": dates, "sales": 5000.0})
    days = pd.concat([days, days.assign(store=8, sales=9e9)])
    coming = pd.date_range(ORIGIN + pd.Timedelta(days=1), periods=42)
    rows = pd.DataFrame({"store": 7, "origin": ORIGIN, "date": coming, "point": 5100.0})
    for k, name in enumerate(QUANTILE_COLUMNS):
        rows[name] = 4000.0 + 200 * k
    rows = pd.concat([rows, rows.assign(store=8)]).sample(frac=1.0, random_state=2)
    words = draw_forecast(days, rows, 7)
    drawn = ElementTree.fromstring(base64.b64decode(words.split("base64,")[1].rstrip(")")))  # noqa: S314
    sold, forecast = drawn.findall(f"{SVG}polyline")
    assert len(sold.attrib["points"].split()) == HISTORY_DAYS
    assert len(forecast.attrib["points"].split()) == 42
    bands = [len(b.attrib["points"].split()) for b in drawn.findall(f"{SVG}polygon")]
    assert bands == [84, 84]
    heights = np.array([float(p.split(",")[1]) for p in sold.attrib["points"].split()])
    assert np.ptp(heights) == 0, "another store's sales are not in the picture"
    assert "Store 7: sales, and forecast from 2015-06-12" in [
        text.text for text in drawn.findall(f"{SVG}text")
    ]
