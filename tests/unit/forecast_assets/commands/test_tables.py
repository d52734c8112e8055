"""Listings: nothing is cut off, at 80 columns, in a pipe, as CSV or as JSON."""

from __future__ import annotations

import csv
import io
import json
from datetime import date

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from forecast_assets.commands.score_listing import score_listing
from forecast_assets.commands.tables import Column, Listing, OutputFormat, print_whole
from forecast_assets.commands.trace import sales_listing

MEASURES = ("rmspe", "mape", "wape", "mase", "wql", "sql", "coverage_80", "coverage_95", "bias")
SCORES = pd.DataFrame(
    {
        pd.Timestamp("2015-05-08"): dict.fromkeys(MEASURES, 0.1234)
        | {"naive_rmspe": 0.5678, "naive_wape": 12.25, "naive_mase": 1.5, "naive_wql": 0.3}
        | {"closure_days": 8.0, "closure_rmspe": 0.4321, "closure_coverage_80": 0.75}
        | {"seconds": 12.0}
    }
).T
SOLD = {
    "date": "2015-06-12", "sales": 4202.0, "promo": 1, "topic": "file:0123456789abcdef0123456789",
    "topic_partition": 0, "offset": 123_456_789, "event_time": "2015-06-12 00:00:00+00:00",
    "corrections": 0,
}  # fmt: skip


def shown(listing: Listing, width: int, *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    listing.show(OutputFormat.TABLE, console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("listing", [score_listing(SCORES), sales_listing([SOLD])])
def test_at_80_columns_a_wide_table_continues_below(listing: Listing) -> None:
    text = shown(listing, 80, terminal=True)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for column in listing.columns:
        if column.title is not None:
            assert column.title in text
            for row in listing.rows:
                assert column.text(row[column.name]) in text, column.title
    key = listing.columns[0].text(listing.rows[0][listing.columns[0].name])
    assert text.count(f" {key} ") > 1, "each part names its rows"
    assert "…" not in text.replace(sales_listing([SOLD]).rows[0]["topic"], "")


def test_in_a_pipe_a_table_is_as_wide_as_it_needs_to_be() -> None:
    text = shown(score_listing(SCORES), 80, terminal=False)
    assert text.count(" 2015-05-08 ") == 1
    assert "12.2500" in text and "naive WQL" in text and "…" not in text
    link = "http://127.0.0.1:3000/runs/" + "a" * 100
    table = Table("name", "address")
    table.add_row("run", link)
    console = Console(file=io.StringIO(), width=80)
    print_whole(console, table)
    assert link in console.file.getvalue()  # type: ignore[attr-defined]
    assert console.width == 80


def test_brackets_are_text() -> None:
    listing = Listing("all [of] them", [Column("name", "na[red]me")], [{"name": "a[b]c"}])
    text = shown(listing, 80, terminal=True)
    assert "all [of] them" in text and "na[red]me" in text and "a[b]c" in text


def test_csv_and_json_hold_every_column_and_plain_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listing = Listing(
        "title",
        [Column("day", "day"), Column("value", "value", ".1f"), Column("hidden", None)],
        [
            {"day": date(2015, 6, 12), "value": 1.25, "hidden": "a,b"},
            {"day": date(2015, 6, 13), "value": float("nan"), "hidden": None},
        ],
    )
    listing.show(OutputFormat.CSV, Console())
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {"day": "2015-06-12", "value": "1.25", "hidden": "a,b"}
    assert rows[1] == {"day": "2015-06-13", "value": "", "hidden": ""}
    listing.show(OutputFormat.JSON, Console())
    assert json.loads(capsys.readouterr().out) == [
        {"day": "2015-06-12", "value": 1.25, "hidden": "a,b"},
        {"day": "2015-06-13", "value": None, "hidden": None},
    ]
    assert "–" in shown(listing, 80, terminal=True)
