"""The command `forecast`: the forecasts in force, for people and programs.

It reads with the read-only role and computes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from forecast_assets.commands.files import MAX_HORIZON_DAYS
from forecast_assets.commands.tables import Column, FormatOption, Listing, OutputFormat
from forecasting.columns import QUANTILE_COLUMNS
from rossmann.parsing import MAX_STORE

T = TypeVar("T")

#: Seconds between two looks for a forecast that is being waited for.
LOOK_SECONDS = 2.0

#: In CSV and JSON; those with a title are in the table, too.
COLUMNS = (
    Column("store", "store", "d"),
    Column("date", "date", "%a %Y-%m-%d"),
    Column("plan", "plan"),
    Column("point", "forecast", ",.0f"),
    Column("q0_1", "80 % from", ",.0f"),
    Column("q0_9", "to", ",.0f"),
    Column("origin", "origin"),
    Column("kind", None),
    Column("horizon", None),
    Column("open", None),
    Column("plan_assumed", None),
    Column("limited", None),
    Column("mean", None),
    *(Column(name, None) for name in QUANTILE_COLUMNS if name not in ("q0_1", "q0_9")),
    Column("model_version", None),
)

StoresOption = Annotated[
    list[str] | None,
    typer.Option(
        "--store", help="A store's number, or several: 1,2,3. Repeatable. Default: all stores."
    ),
]
WaitOption = Annotated[
    float,
    typer.Option(min=0, help="Minutes to wait for the first forecast, for example after a load."),
]


def parse_stores(texts: list[str] | None) -> list[int]:
    """Read store numbers from repeated, comma-separated options; none means all stores.

    Raises:
        typer.BadParameter: A part is not a positive whole number.
    """
    numbers = []
    for part in ",".join(texts or ()).split(",") if texts else ():
        digits = part.strip()
        if not (digits.isdecimal() and len(digits) <= 18 and 0 < int(digits) <= MAX_STORE):
            raise typer.BadParameter(
                f"{digits!r} is no store's number: write --store 1,2,3", param_hint="--store"
            )
        numbers.append(int(digits))
    return numbers


def wait_for(
    read: Callable[[], T], minutes: float, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Read something, and if it does not exist yet, look again until the time is over.

    Raises:
        NotYetError: It still does not exist.
    """
    from warehouse.errors import NotYetError

    until = time.monotonic() + 60 * minutes
    while True:
        try:
            return read()
        except NotYetError:
            if time.monotonic() >= until:
                raise
        sleep(LOOK_SECONDS)


def listing(rows: list[dict[str, Any]]) -> Listing:
    """Lay out forecasts, as `warehouse.in_force.forecasts` returns them."""
    for row in rows:
        assumed = " (assumed)" if row["plan_assumed"] else ""
        row["plan"] = ("open" if row["open"] else "closed") + assumed
    kinds = {row["kind"] for row in rows}
    origins = sorted({row["origin"] for row in rows})
    return Listing(
        f"{'Forecasts' if kinds == {'issued'} else 'Backtests'} from the sales up to "
        f"{' … '.join(str(day) for day in dict.fromkeys((origins[0], origins[-1])))}",
        COLUMNS,
        rows,
    )


def register(app: typer.Typer, console: Console | None = None) -> None:
    """Add the command `forecast` to a command line."""
    terminal = console or Console()

    @app.command("forecast")
    def forecast_command(
        store: StoresOption = None,
        days: Annotated[
            int, typer.Option(min=1, max=MAX_HORIZON_DAYS, help="How many days ahead.")
        ] = 7,
        as_of: Annotated[
            datetime | None,
            typer.Option(
                formats=["%Y-%m-%d"],
                help="The last day that the forecast saw, for what planners were told then. "
                "Default: the forecasts in force.",
            ),
        ] = None,
        wait: WaitOption = 0,
        output: FormatOption = OutputFormat.TABLE,
    ) -> None:
        """Show forecasts with their 80 % intervals; CSV and JSON have all quantiles."""
        from forecast_assets.settings import settings
        from warehouse import in_force
        from warehouse.connection import Warehouse

        wanted = parse_stores(store)
        today = datetime.now(UTC).date()
        if as_of is not None and as_of.date() > today:
            raise typer.BadParameter(
                f"{as_of:%Y-%m-%d} is yet to come: ask for a day until {today} (UTC), or leave it "
                "out for the forecasts in force",
                param_hint="--as-of",
            )
        warehouse = Warehouse(settings().require_reader_url())
        with warehouse.transaction() as transaction:
            stores = in_force.known_stores(transaction, wanted)

        def look() -> list[dict[str, Any]]:
            with warehouse.snapshot() as transaction:
                return in_force.forecasts(
                    transaction, stores, days, as_of.date() if as_of else None
                )

        listing(wait_for(look, wait)).show(output, terminal)
