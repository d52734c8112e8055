"""Answers as JSON, CSV, Excel, Parquet or Arrow, and ETags.

JSON rows come from psycopg; tables in Arrow come from ADBC and are written by Arrow's own writers,
workbooks by XlsxWriter.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import xlsxwriter
from fastapi import Request
from pydantic_core import to_json
from starlette.responses import Response

from forecast_service.problems import ServiceError

#: Signs with which a spreadsheet begins a formula.
_FORMULA = r"^[=+\-@\t\r]"
#: A private cache may keep an answer, but has to ask whether it is still right.
CACHE_CONTROL = "private, no-cache"


class Format(StrEnum):
    """How rows are written."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    EXCEL = "xlsx"


class Shape(StrEnum):
    """How forecasts' columns are named."""

    OWN = "own"
    NIXTLA = "nixtla"


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.EXCEL: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
#: How OpenAPI describes the answers that aren't JSON.
FILE_CONTENT: dict[str, Any] = {
    "text/csv": {"schema": {"type": "string"}},
    **{
        MEDIA_TYPES[kind]: {"schema": {"type": "string", "format": "binary"}}
        for kind in (Format.PARQUET, Format.ARROW, Format.EXCEL)
    },
}

#: How OpenAPI describes an answer that the client has already.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing changed since the answer with that ETag."}
}

#: Most rows of a workbook: writing them takes some seconds of a core.
MAX_WORKBOOK_ROWS = 100_000
#: Width of a workbook's columns, in characters: a date fits, and most names.
_COLUMN_WIDTH = 13
#: A workbook's sheet is named after what it holds, which a column that no other table has tells.
_SHEETS = (
    ("sentence", "Worklist"),
    ("member", "Totals"),
    ("point", "Forecasts"),
    ("model-lo-80", "Forecasts"),
    ("customers", "Sales"),
)
#: How spreadsheets show numbers of sales: whole, with the reader's own separators.
_NUMBER_FORMAT = "#,##0"
#: Columns of whole numbers that are amounts, not numbers of stores or days.
_AMOUNTS = ("sales", "customers")
#: Rows that become Python objects at a time while a workbook is written.
_WORKBOOK_BATCH = 5_000

#: Own column -> the name that users of Nixtla's libraries expect.
NIXTLA_COLUMNS = {
    "store": "unique_id",
    "date": "ds",
    "point": "model",
    "q0_1": "model-lo-80",
    "q0_9": "model-hi-80",
    "q0_025": "model-lo-95",
    "q0_975": "model-hi-95",
}


def etag_of(*parts: object) -> str:
    """Return the ETag of an answer that depends on these parts alone."""
    return '"' + hashlib.sha256(repr(parts).encode()).hexdigest()[:32] + '"'


def not_modified(request: Request, etag: str) -> Response | None:
    """Return 304 if the client has this very answer; None otherwise."""
    known = request.headers.get("if-none-match")
    if known is None:
        return None
    # The comparison is weak: a proxy may have marked the ETag so when it compressed the answer.
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if etag in tags or "*" in tags:
        return Response(status_code=304, headers=cache_headers(etag))
    return None


def cache_headers(etag: str) -> dict[str, str]:
    """Return the headers with which an answer may be kept."""
    return {"ETag": etag, "Cache-Control": CACHE_CONTROL, "Vary": "Authorization, Cookie"}


def json_bytes(content: Any) -> bytes:
    """Write JSON; numbers that JSON lacks become null."""
    return to_json(content, inf_nan_mode="null")


def written_json(body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON that is written already."""
    return Response(body, 200, headers, MEDIA_TYPES[Format.JSON])


def json_response(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return content as JSON."""
    return written_json(json_bytes(content), headers)


def hashed_json(request: Request, content: Any) -> Response:
    """Return JSON whose ETag is made from the content itself."""
    body = json_bytes(content)
    etag = etag_of(body)
    return not_modified(request, etag) or written_json(body, cache_headers(etag))


def nixtla_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return forecast rows under Nixtla's names."""
    return [{new: row[old] for old, new in NIXTLA_COLUMNS.items()} for row in rows]


def nixtla_table(table: pa.Table) -> pa.Table:
    """Return a table of forecasts under Nixtla's names."""
    return table.select(list(NIXTLA_COLUMNS)).rename_columns(list(NIXTLA_COLUMNS.values()))


def file_bytes(table: pa.Table, kind: Format) -> bytes:
    """Write a table.

    Args:
        table: The rows.
        kind: Any format but JSON.
    """
    table = table.replace_schema_metadata(None)
    sink = io.BytesIO()
    if kind is Format.CSV:
        pyarrow.csv.write_csv(_without_formulas(table), sink)
    elif kind is Format.PARQUET:
        pyarrow.parquet.write_table(table, sink, compression="snappy")
    elif kind is Format.EXCEL:
        _write_workbook(table, sink)
    else:
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def file_response(body: bytes, kind: Format, name: str, headers: Mapping[str, str]) -> Response:
    """Return a written table as a download."""
    extension = {Format.ARROW: "arrows"}.get(kind, kind.value)
    return Response(
        body,
        200,
        {**headers, "Content-Disposition": f'attachment; filename="{name}.{extension}"'},
        MEDIA_TYPES[kind],
    )


def _write_workbook(table: pa.Table, sink: io.BytesIO) -> None:
    """Write a table as the only sheet of a workbook: dates as dates, text never as a formula.

    Raises:
        ServiceError: There are too many rows for the time that a request may take.
    """
    if table.num_rows > MAX_WORKBOOK_ROWS:
        raise ServiceError(
            422,
            f"{table.num_rows:,} rows are too many for Excel, {MAX_WORKBOOK_ROWS:,} the most: ask "
            "for fewer stores or days, or for CSV or Parquet",
        )
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
        "remove_timezone": True,
        "default_date_format": "yyyy-mm-dd",
    }
    with xlsxwriter.Workbook(sink, options) as workbook:
        sheet = workbook.add_worksheet(_sheet_name(table.column_names))
        amount = workbook.add_format({"num_format": _NUMBER_FORMAT})
        for index, field in enumerate(table.schema):
            is_amount = pa.types.is_floating(field.type) or field.name in _AMOUNTS
            sheet.set_column(index, index, _COLUMN_WIDTH, amount if is_amount else None)
        sheet.write_row(0, 0, table.column_names, workbook.add_format({"bold": True}))
        sheet.freeze_panes(1, 0)
        number = 1
        for batch in table.to_batches(_WORKBOOK_BATCH):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                sheet.write_row(number, 0, row)
                number += 1
        if number > 1:
            sheet.autofilter(0, 0, number - 1, table.num_columns - 1)


def _sheet_name(columns: Sequence[str]) -> str:
    return next((name for column, name in _SHEETS if column in columns), "Data")


def _without_formulas(table: pa.Table) -> pa.Table:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(index)
            risky = pc.fill_null(pc.match_substring_regex(column, _FORMULA), False)
            quoted = pc.binary_join_element_wise(pa.scalar("'", field.type), column, "")
            table = table.set_column(index, field.name, pc.if_else(risky, quoted, column))
    return table
