"""The command `retire`: a store is closed for good, so nobody expects sales of it any more."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer, console: Console) -> None:
    """Add the command to the command line."""

    @app.command()
    def retire(
        store: Annotated[list[int], typer.Option(help="The store; repeat it for several.")],
        undo: Annotated[bool, typer.Option("--undo", help="The store is open after all.")] = False,
    ) -> None:
        """Stop expecting sales and fresh forecasts of a store that is closed for good.

        Its history and its forecasts stay. Events that still come are stored as before.
        """
        from forecast_assets.settings import settings
        from warehouse import health
        from warehouse.connection import Warehouse

        listed = ", ".join(str(number) for number in sorted(set(store)))
        with Warehouse(settings().require_database_url()).transaction() as transaction:
            if undo:
                health.reinstate(transaction, store)
                unknown = []
            else:
                unknown = health.retire(transaction, store)
        if unknown:
            console.print(
                f"error: the store table does not know {', '.join(map(str, unknown))}; "
                "the others are retired. `select store from sales.stores` lists all"
            )
            raise typer.Exit(1)
        console.print(f"{'expected again' if undo else 'retired'}: {listed}")
