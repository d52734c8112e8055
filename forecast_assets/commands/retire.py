"""The command `retire`: a store is closed for good, so nobody expects sales of it any more."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from rossmann.parsing import MAX_STORE


def register(app: typer.Typer, console: Console) -> None:
    """Add the command to the command line."""

    @app.command()
    def retire(
        store: Annotated[
            list[int],
            typer.Option(min=1, max=MAX_STORE, help="The store; repeat it for several."),
        ],
        undo: Annotated[bool, typer.Option("--undo", help="The store is open after all.")] = False,
    ) -> None:
        """Stop expecting sales and fresh forecasts of a store that is closed for good.

        Its history and its forecasts stay. Events that still come are stored as before.
        """
        from forecast_assets.settings import settings
        from warehouse import health, in_force
        from warehouse.connection import Warehouse

        listed = ", ".join(str(number) for number in sorted(set(store)))
        with Warehouse(settings().require_database_url()).transaction() as transaction:
            in_force.known_stores(transaction, store)
            change = health.reinstate if undo else health.retire
            change(transaction, store)
        console.print(f"{'expected again' if undo else 'retired'}: {listed}")
