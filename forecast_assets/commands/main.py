"""The command line: forecasts and their accuracy, traces, loading and evaluating files.

Contains `load`; the other commands are in their own modules.
"""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from forecast_assets.commands import accuracy, evaluate, forecast, retire, submission, trace
from forecast_assets.commands.files import (
    DataFolder,
    SkipBad,
    error_console,
    report_bad_rows,
)
from forecast_assets.settings import SettingsError
from rossmann.kaggle import KaggleFilesError

if TYPE_CHECKING:
    from warehouse.loading import Loaded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sales forecasts for a chain of stores: show and trace them, load and evaluate files.",
)
# Paths and messages are no markup, whatever brackets they contain.
console = Console(markup=False)


@app.command()
def load(
    data: DataFolder,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="The last day to load sales for. Later days are loaded as plans.",
        ),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="The event time of the rows (UTC). If a day has two events, the later one counts. "
            "Default: each row's own date. Set it to load corrections.",
        ),
    ] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Load stores, sales and planned days into the sales database.

    Only what is new is stored. A day that is stored with other numbers needs --as-of.
    """
    from forecast_assets.settings import settings
    from rossmann import kaggle
    from warehouse import loading
    from warehouse.connection import Warehouse

    config = settings()
    with console.status(Text(f"reading {data}")):
        files = kaggle.read_files(data, skip_bad=skip_bad)
        train = files.train
        plans = loading.plans_of(train, files.test, until.date() if until else None)
        sales = train if until is None else train[train["date"] <= until]
    report_bad_rows(files.skipped)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("loading sales", total=len(sales))
        loaded = loading.load(
            Warehouse(config.require_database_url()),
            stores=files.stores,
            sales=sales,
            plans=plans,
            as_of=as_of.replace(tzinfo=UTC) if as_of else None,
            planned_at=files.planned_at,
            calendar=(config.calendar_start, config.calendar_end),
            on_rows=lambda rows: progress.update(task, completed=rows),
        )
        progress.update(task, completed=len(sales))
    outdated = (
        f"; {loaded.plans_outdated:,} planned days do not count, since later plans are known"
        if loaded.plans_outdated
        else ""
    )
    console.print(
        f"{_what_became_of_sales(loaded)}; {loaded.stores_changed:,} stores and "
        f"{loaded.plans_changed:,} planned days changed{outdated}"
    )


def _what_became_of_sales(loaded: "Loaded") -> str:
    sales = loaded.sales
    if loaded.already_loaded:
        already = loaded.sales_rows - sales.withdrawn
        parts = [f"{already:,} sales rows were already loaded"]
    else:
        parts = [f"{sales.new:,} of {loaded.sales_rows:,} sales rows loaded"]
    if sales.corrected:
        parts.append(f"{sales.corrected:,} corrections loaded")
    if sales.confirmed:
        parts.append(f"{sales.confirmed:,} stored days confirmed")
    if sales.outdated:
        parts.append(f"{sales.outdated:,} rows do not count, since later events are known")
    if sales.withdrawn:
        parts.append(
            f"{sales.withdrawn:,} rows were withdrawn and stay so "
            "(`python -m streaming_job requeue --reason withdrawn` takes them in again)"
        )
    return "; ".join(parts)


forecast.register(app, console)
accuracy.register(app, console)
evaluate.register(app, console)
submission.register(app, console)
trace.register(app, console)
retire.register(app, console)


def main() -> None:
    """Run the command line. Errors that the user can fix print one line and exit with code 1."""
    from warehouse.errors import WarehouseError

    try:
        app(prog_name="python -m forecast_assets")
    except (KaggleFilesError, SettingsError, WarehouseError, OSError) as error:
        # An OSError names the file itself, such as an output on a full disk.
        error_console().print(Text.assemble(("error: ", "red"), str(error)))
        sys.exit(1)
