"""The command line: forecasts and their accuracy, traces, loading and evaluating files.

Contains `load`; the other commands are in their own modules.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forecast_assets.commands import accuracy, evaluate, forecast, retire, submission, trace
from forecast_assets.settings import SettingsError
from rossmann.kaggle import KaggleFilesError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sales forecasts for a chain of stores: show and trace them, load and evaluate files.",
)
console = Console()


DataFolder = Annotated[
    Path,
    typer.Option(
        "--data",
        help="A folder with Kaggle's train.csv, test.csv and store.csv, plain or .gz.",
        exists=True,
        file_okay=False,
    ),
]


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
) -> None:
    """Load stores, sales and planned days into the sales database.

    Loading the same rows again changes nothing.
    """
    from forecast_assets.settings import settings
    from rossmann import kaggle
    from warehouse import loading
    from warehouse.connection import Warehouse

    config = settings()
    with console.status(f"reading {data}"):
        stores = kaggle.read_stores(data)
        train = kaggle.read_train(data)
        plans = loading.plans_of(train, kaggle.read_test(data), until.date() if until else None)
        sales = train if until is None else train[train["date"] <= until]
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
            stores=stores,
            sales=sales,
            plans=plans,
            as_of=as_of.replace(tzinfo=UTC) if as_of else None,
            calendar=(config.calendar_start, config.calendar_end),
            on_rows=lambda rows: progress.update(task, completed=rows),
        )
        progress.update(task, completed=len(sales))
    rows = f"{loaded.sales_rows:,} sales rows" + (
        " were already loaded" if loaded.already_loaded else " loaded"
    )
    console.print(
        f"{rows}; {loaded.stores_changed:,} stores and {loaded.plans_changed:,} planned days "
        "changed"
    )


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
    except (KaggleFilesError, SettingsError, WarehouseError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]error:[/red] {error}")
        sys.exit(1)
