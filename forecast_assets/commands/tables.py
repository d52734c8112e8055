"""Rows for people and programs: as a table that cuts nothing off, as CSV or as JSON.

rich shortens cells until a table fits, down to `0.…`. Here a table that is too wide for the
terminal continues in a second table below; in a pipe or a file it is as wide as it needs to be.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: What a cell shows when there is no value.
NOTHING = "–"

#: Width of a column besides its text, and of the table's last border.
_PADDING, _BORDER = 3, 1


class OutputFormat(StrEnum):
    """How a command prints its rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="A table to read, or rows for programs.")
]


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes:
        name: Its name in CSV and JSON, and its key in the rows.
        title: Its title in a table; None leaves it to CSV and JSON.
        spec: The format specification of its values in a table.
    """

    name: str
    title: str | None
    spec: str = ""

    def text(self, value: Any) -> str:
        """Return a value as a table shows it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return NOTHING
        return format(value, self.spec)


@dataclass(frozen=True)
class Listing:
    """Rows with their columns; the first column is repeated when a table continues below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]

    def show(self, output: OutputFormat, console: Console) -> None:
        """Print the rows.

        Args:
            output: The format.
            console: Where tables go; CSV and JSON go to standard output as they are.
        """
        if output is OutputFormat.TABLE:
            for table in self.tables(console.width if console.is_terminal else None):
                print_whole(console, table)
        elif output is OutputFormat.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(column.name for column in self.columns)
            writer.writerows([_plain(row[c.name]) for c in self.columns] for row in self.rows)
        else:
            rows = [{c.name: _plain(row[c.name]) for c in self.columns} for row in self.rows]
            typer.echo(json.dumps(rows, indent=2))

    def tables(self, width: int | None) -> list[Table]:
        """Lay out the rows in as many tables as fit side by side columns into a width.

        Args:
            width: Characters per line; None means as many as it takes.
        """
        shown = [column for column in self.columns if column.title is not None]
        cells = {c.name: [c.text(row[c.name]) for row in self.rows] for c in shown}
        widths = {
            c.name: max(map(cell_len, [c.title or "", *cells[c.name]])) + _PADDING for c in shown
        }
        key, *others = shown
        groups: list[list[Column]] = [[key]]
        for column in others:
            used = sum(widths[c.name] for c in groups[-1]) + widths[column.name] + _BORDER
            if width is not None and used > width and len(groups[-1]) > 1:
                groups.append([key])
            groups[-1].append(column)
        return [
            self._table(group, cells, self.title if group is groups[0] else None)
            for group in groups
        ]

    def _table(
        self, columns: Sequence[Column], cells: Mapping[str, list[str]], title: str | None
    ) -> Table:
        # `Text`, because rich reads square brackets in plain strings as markup.
        table = Table(title=Text(title) if title else None, title_justify="left")
        for position, column in enumerate(columns):
            table.add_column(
                Text(column.title or ""),
                justify="right" if position and column.spec else "left",
                overflow="fold",
            )
        for row in zip(*(cells[c.name] for c in columns), strict=True):
            table.add_row(*map(Text, row))
        return table


def print_whole(console: Console, table: Table) -> None:
    """Print a table; where nobody's terminal limits it, as wide as it needs to be."""
    if console.is_terminal:
        console.print(table)
        return
    before = console.width
    console.width = 10_000
    try:
        console.width = max(before, console.measure(table).maximum)
        console.print(table)
    finally:
        console.width = before


def _plain(value: Any) -> Any:
    """Return a value as CSV and JSON can hold it."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
