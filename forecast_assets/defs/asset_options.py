"""Arguments to `@dg.asset` and metadata that the assets share."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from forecast_assets.defs.partitions import sales_partitions
from forecasting.schemas.columns import ASSET_TABLES, LINEAGE, SOURCES, TABLES, Column

OWNERS = ["team:forecasting"]

ROWLESS: dict[str, Any] = {
    # One run for a range of partitions: starting a run is expensive, rows are cheap.
    "backfill_policy": dg.BackfillPolicy.single_run(),
    # Assets write their rows to PostgreSQL themselves; no IO manager stores a value.
    "dagster_type": dg.Nothing,
}

STORE_LEVEL: dict[str, Any] = {
    **ROWLESS,
    "partitions_def": sales_partitions,
    "owners": OWNERS,
}


def table_metadata(asset: str) -> dict[str, Any]:
    """Return the metadata of an asset's definition: its table and its columns."""
    table = ASSET_TABLES[asset]
    return {"dagster/table_name": f"sales.{table}", **_columns(TABLES[table])}


def source_metadata(source: str) -> dict[str, Any]:
    """Return the metadata of an external asset: its columns, and its table if it has one."""
    columns = _columns(SOURCES[source])
    return columns if source == "sales_topic" else {
        "dagster/table_name": f"sales.{source}", **columns
    }  # fmt: skip


def _columns(columns: Iterable[Column]) -> dict[str, Any]:
    return {
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, column.description) for column in columns
            ]
        ),
    }


def column_lineage(asset: str) -> dict[str, Any]:
    """Return the metadata of a materialization that says which columns were made from which."""
    if asset not in LINEAGE:
        return {}
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey(source), name) for source, name in made_from]
                for column, made_from in LINEAGE[asset].items()
            }
        )
    }
