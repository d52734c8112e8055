"""Pictures are well-formed, show what they are given, and import nothing heavy."""

import base64
import math
from xml.etree import ElementTree

from forecast_assets.plots import Band, Line, bar_chart, line_chart, markdown
from tests.support.imports import loaded_by

SVG = "{http://www.w3.org/2000/svg}"


def test_lines_break_at_gaps_and_bands_lie_behind() -> None:
    gap = math.nan
    drawn = ElementTree.fromstring(  # noqa: S314  (our own text)
        line_chart(
            "Store 7 <sales>",
            ["a", "b", "c", "d"],
            [Line("sold", [1.0, gap, 3.0, 4.0])],
            [Band("80 %", [gap, gap, 2.0, 3.0], [gap, gap, 4.0, 5.0])],
        )
    )
    assert len(drawn.findall(f"{SVG}polyline")) == 2
    (band,) = drawn.findall(f"{SVG}polygon")
    assert len(band.attrib["points"].split()) == 4
    words = [text.text for text in drawn.findall(f"{SVG}text")]
    assert {"Store 7 <sales>", "sold", "a", "d"} <= set(words)


def test_bars_are_as_long_as_their_values() -> None:
    drawn = ElementTree.fromstring(bar_chart("weights", [("promo", 0.4), ("<trend>", 0.1)]))  # noqa: S314
    _, first, second = (float(r.attrib["width"].strip("%")) for r in drawn.findall(f"{SVG}rect"))
    assert first == 4 * second
    assert "40.0%" in [text.text for text in drawn.findall(f"{SVG}text")]


def test_nothing_to_draw_is_still_a_picture() -> None:
    for svg in (line_chart("none", [], [Line("x", [])]), bar_chart("none", [])):
        ElementTree.fromstring(svg)  # noqa: S314


def test_markdown_holds_the_picture() -> None:
    svg = bar_chart("weights", [("promo", 0.4)])
    head, _, rest = markdown(svg, "weights").partition("base64,")
    assert head == "![weights](data:image/svg+xml;"
    assert base64.b64decode(rest.rstrip(")")).decode() == svg


def test_drawing_imports_nothing_heavy() -> None:
    code = "import forecast_assets.plots"
    assert loaded_by(code, "matplotlib", "numpy", "pandas") == []
