"""The asset graph over a sales database, run in the test's process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from forecast_assets.defs.scope import REFRESH_TAG
from forecast_assets.settings import settings
from rossmann import kaggle
from warehouse import loading
from warehouse.connection import Warehouse

STORES = 6
#: Every issued forecast.
ISSUED = "SELECT * FROM sales.forecasts_issued ORDER BY refresh_id, store, date"
END = date(2015, 6, 19)
#: A bounded calendar of twenty months. Its last month comes after the last month with sales.
CALENDAR = (date(2014, 1, 1), date(2015, 8, 31))


class Chain:
    """A sales database and the asset graph over it, with the actions of tests."""

    def __init__(self, warehouse: Warehouse, instance: dg.DagsterInstance, folder: Path) -> None:
        from forecast_assets.definitions import defs

        self.warehouse, self.instance = warehouse, instance
        self.repository = defs().get_repository_def()
        self.folder = folder
        instance.add_dynamic_partitions("store", [str(s) for s in range(1, STORES + 1)])

    def load(self, until: date, as_of: datetime | None = None, **sales_change: float):
        train = kaggle.read_train(self.folder)
        for key, factor in sales_change.items():
            store, day = key.removeprefix("s").split("_", 1)
            row = (train["store"] == int(store)) & (train["date"] == day.replace("_", "-"))
            assert row.sum() == 1
            train.loc[row, "sales"] *= factor
            train = train[row] if as_of else train
        return loading.load(
            self.warehouse,
            stores=kaggle.read_stores(self.folder),
            sales=train[train["date"] <= pd.Timestamp(until)],
            plans=loading.plans_of(train, kaggle.read_test(self.folder), until),
            as_of=as_of,
            calendar=CALENDAR,
        )

    def load_day(self, day: date, stores: Collection[int] | None = None):
        """Load the sales of one day, for some stores or for all; no older day changes."""
        train = kaggle.read_train(self.folder)
        rows = train[train["date"] == pd.Timestamp(day)]
        return loading.load(
            self.warehouse,
            stores=kaggle.read_stores(self.folder),
            sales=rows if stores is None else rows[rows["store"].isin(stores)],
            plans=train.iloc[:0],
            calendar=CALENDAR,
        )

    def run(
        self,
        job: str,
        first: str,
        last: str | None = None,
        *,
        refresh: bool = False,
        only_days: dict[str, str] | None = None,
    ):
        tags = {"dagster/asset_partition_range_start": first}
        tags["dagster/asset_partition_range_end"] = last or first
        if refresh:
            tags[REFRESH_TAG] = "true"
        result = self.repository.get_job(job).execute_in_process(
            instance=self.instance,
            tags=tags,
            run_config={"resources": {"only_days": {"config": only_days}}} if only_days else None,
        )
        assert result.success
        return result

    def refresh(self):
        return self.run("refresh", "2014-01-01|1", f"2015-06-01|{STORES}", refresh=True)

    def train(self, month: str):
        result = self.repository.get_job("train").execute_in_process(
            instance=self.instance, partition_key=month
        )
        assert result.success

    def materialized(self, run_id: str) -> dict[str, dict[str, int]]:
        """Return asset -> partition -> number of rows, as a run reported them."""
        found: dict[str, dict[str, int]] = {}
        records = self.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        for record in records:
            event = record.event_log_entry.asset_materialization
            assert event is not None
            rows = event.metadata["dagster/row_count"].value
            found.setdefault(event.asset_key.to_user_string(), {})[event.partition] = rows
        return found

    def frame(self, query: str) -> pd.DataFrame:
        with self.warehouse.transaction() as transaction:
            return transaction.frame(query)


@contextmanager
def chain_on(
    database: dict[str, str], folder: Path, mlflow_uri: str, workdir: Path
) -> Iterator[Chain]:
    """Yield the graph over a database, with a Dagster instance of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORECAST_DATABASE_URL", database["FORECAST_DATABASE_URL"])
        patch.setenv("SALES_CALENDAR_START", str(CALENDAR[0]))
        patch.setenv("SALES_CALENDAR_END", str(CALENDAR[1]))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
        patch.chdir(workdir)
        settings.cache_clear()
        with dg.DagsterInstance.ephemeral() as instance:
            yield Chain(Warehouse(database["FORECAST_DATABASE_URL"]), instance, folder)
    settings.cache_clear()
