"""Loading files: what is stored, what is refused, and that no file or shell breaks the command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from forecast_assets.commands.main import main
from forecast_assets.settings import settings
from forecasting.columns import DAY_COLUMNS
from rossmann import kaggle
from rossmann.sample_data import sample_files
from streaming_job import requeue
from streaming_job.reason_codes import Reason
from streaming_job.settings import StreamSettings
from streaming_job.withdraw import withdraw
from tests.support.mutated_files import mutate
from warehouse import health, loading
from warehouse.connection import Warehouse
from warehouse.errors import LoadError

CALENDAR = (date(2015, 1, 1), date(2015, 12, 31))
END = date(2015, 6, 19)
EXPORTED = datetime(2015, 7, 1, tzinfo=UTC)
MUTATIONS = 100


class Files:
    """Three stores' files, and the database to load them into."""

    def __init__(self, url: str, folder: Path) -> None:
        sample_files(stores=3, days=40, end=END, seed=5).write(folder)
        self.folder, self.warehouse = folder, Warehouse(url)
        self.read = kaggle.read_files(folder)
        self.train = self.read.train

    def load(self, sales: pd.DataFrame, as_of: datetime | None = None) -> loading.Loaded:
        return self.load_with(sales, self.read.test.iloc[:0], as_of)

    def load_with(
        self,
        sales: pd.DataFrame,
        plans: pd.DataFrame,
        as_of: datetime | None = None,
        planned_at: datetime | None = None,
    ) -> loading.Loaded:
        return loading.load(
            self.warehouse,
            stores=self.read.stores,
            sales=sales,
            plans=plans,
            as_of=as_of,
            planned_at=planned_at,
            calendar=CALENDAR,
        )

    def rows(self, query: str) -> list[dict[str, object]]:
        with self.warehouse.transaction() as transaction:
            return transaction.rows(query)

    def stored(self) -> int:
        (row,) = self.rows("SELECT count(*) AS n FROM sales.raw_sales")
        return int(str(row["n"]))

    def changed(self, sales: pd.DataFrame, store: int, day: str, by: int) -> pd.DataFrame:
        """Return the sales with another number for one day."""
        rows = sales.copy()
        one = (rows["store"] == store) & (rows["date"] == day)
        assert one.sum() == 1
        rows.loc[one, "sales"] += by
        return rows


@pytest.fixture
def files(fresh_database: dict[str, str], tmp_path: Path) -> Files:
    return Files(fresh_database["FORECAST_DATABASE_URL"], tmp_path / "files")


def test_a_longer_or_sorted_export_stores_and_announces_only_what_is_new(files: Files) -> None:
    shorter = files.train[files.train["date"] < "2015-06-18"]
    assert files.load(shorter).sales.new == len(shorter) == files.stored()
    longer = files.load(files.train)
    assert (longer.sales.new, longer.sales.corrected) == (len(files.train) - len(shorter), 0)
    assert files.stored() == len(files.train)
    shuffled = files.train.sample(frac=1, random_state=1)
    assert files.load(shuffled).already_loaded
    assert files.stored() == len(files.train)
    changes = files.rows("SELECT stores, first_days FROM sales.changes ORDER BY change_id")
    assert len(changes) == 2
    assert set(changes[1]["first_days"]) == {date(2015, 6, 18)}  # type: ignore[call-overload]
    ledger = files.rows("SELECT first_offset, next_offset, stored FROM sales.stream_offsets")
    assert sum(int(str(row["stored"])) for row in ledger) == files.stored()


@pytest.mark.parametrize("by", [180, -180])
def test_a_corrected_file_needs_a_time_whichever_number_is_larger(files: Files, by: int) -> None:
    files.load(files.train)
    corrected = files.changed(files.train, 3, "2015-06-01", by)
    with pytest.raises(LoadError) as refused:
        files.load(corrected)
    message = str(refused.value)
    assert "1 of " in message and "store 3 on 2015-06-01 has sales" in message
    assert "--as-of" in message and "\n" not in message
    assert files.stored() == len(files.train), "nothing of a refused file is stored"
    one_day = corrected[(corrected["store"] == 3) & (corrected["date"] == "2015-06-01")]
    loaded = files.load(one_day, EXPORTED)
    assert (loaded.sales.new, loaded.sales.corrected) == (0, 1)
    stale, before = files.changed(one_day, 3, "2015-06-01", 7), EXPORTED - timedelta(days=2)
    older = files.load(stale, before)
    assert (older.sales.corrected, older.sales.outdated) == (0, 1), "it is stored and told"
    again = files.load(stale, before)
    assert again.already_loaded and again.sales.outdated == 1
    with pytest.raises(LoadError, match="another --as-of"):
        files.load(files.changed(one_day, 3, "2015-06-01", 9), EXPORTED)
    assert files.load(one_day, EXPORTED).already_loaded


def test_withdrawn_sales_of_a_file_come_back_only_on_request(
    files: Files, fresh_database: dict[str, str]
) -> None:
    files.load(files.train)
    url = fresh_database["STREAM_DATABASE_URL"]
    day = date(2015, 6, 1)
    assert withdraw(url, 3, day, "typed twice").remaining is None
    again = files.load(files.train)
    assert (again.sales.new, again.sales.withdrawn) == (0, 1)
    row = files.train[(files.train["store"] == 3) & (files.train["date"] == pd.Timestamp(day))]
    assert files.load(row, EXPORTED).sales.withdrawn == 1, "exported before it was withdrawn"
    assert files.stored() == len(files.train) - 1
    with files.warehouse.transaction() as transaction:
        assert health.quarantined(transaction) == (0, {}), "a person's choice is no bad event"

    settings = StreamSettings(stream_database_url=url, kafka_bootstrap_servers="none")
    assert requeue.requeue(settings) == 0
    assert requeue.requeue(settings, reasons=[Reason.WITHDRAWN]) == 1
    assert files.stored() == len(files.train)
    assert files.load(files.train).already_loaded, "it is what was withdrawn, to the number"

    withdraw(url, 3, day, "wrong after all")
    right = files.load(files.changed(row, 3, "2015-06-01", 5))
    assert (right.sales.new, right.sales.withdrawn) == (1, 0), "another number is another claim"
    withdraw(url, 3, day, "this one, too")
    assert files.load(row, datetime.now(UTC)).sales.new == 1, "a later export says it again"


def test_an_export_with_its_time_confirms_what_is_stored(files: Files) -> None:
    files.load(files.train)
    loaded = files.load(files.train, EXPORTED)
    assert (loaded.sales.new, loaded.sales.confirmed) == (0, len(files.train))
    between = files.changed(files.train, 1, "2015-06-02", 5).head(len(files.train))
    again = files.load(between, EXPORTED - timedelta(days=1))
    assert (again.sales.corrected, again.sales.outdated) == (0, 1), "the export confirmed the day"


def test_a_file_that_nobody_changed_undoes_no_later_plan(files: Files) -> None:
    plans = files.read.test.head(4)
    files.load_with(files.train.iloc[:0], plans, planned_at=EXPORTED)
    event = plans.head(1).assign(open=0, event_time=pd.Timestamp(EXPORTED + timedelta(hours=1)))
    with files.warehouse.transaction() as transaction:
        assert loading.merge_plans(transaction, event[[*loading.PLANNED_DAY_COLUMNS, "event_time"]])
    again = files.load_with(files.train.iloc[:0], plans, planned_at=EXPORTED)
    assert (again.plans_changed, again.plans_outdated) == (0, 1)
    newer = files.load_with(files.train.iloc[:0], plans, planned_at=EXPORTED + timedelta(hours=2))
    assert (newer.plans_changed, newer.plans_outdated) == (1, 0)


def test_sales_that_had_not_happened_are_refused(files: Files) -> None:
    ahead = files.train.head(3).assign(date=pd.Timestamp(EXPORTED.date()) + pd.Timedelta(days=2))
    with pytest.raises(LoadError, match="3 sales are of days that had not come on 2015-07-01"):
        files.load(ahead, EXPORTED)
    tomorrow = ahead.assign(date=ahead["date"] - pd.Timedelta(days=1)).drop_duplicates("store")
    assert files.load(tomorrow, EXPORTED).sales.new == len(tomorrow)


@pytest.mark.parametrize("year", [1, 1970, 2199, 9999])
def test_an_impossible_time_is_refused(files: Files, year: int) -> None:
    with pytest.raises(LoadError, match="the event time"):
        files.load(files.train, datetime(year, 1, 1, tzinfo=UTC))


def test_a_plans_time_advances_even_when_its_values_do_not(files: Files) -> None:
    plan = files.read.test.head(1)
    closed = plan.assign(open=1 - plan["open"])
    none = files.train.iloc[:0]
    assert files.load_with(none, plan, EXPORTED).plans_changed == 1
    assert files.load_with(none, plan, EXPORTED + timedelta(days=2)).plans_changed == 0
    late = files.load_with(none, closed, EXPORTED + timedelta(days=1))
    assert late.plans_changed == 0, "the plan was confirmed later than that"
    (stored,) = files.rows("SELECT open, event_time FROM sales.planned_days")
    assert stored == {
        "open": int(plan["open"].iloc[0]),
        "event_time": EXPORTED + timedelta(days=2),
    }
    assert files.load_with(none, closed, EXPORTED + timedelta(days=3)).plans_changed == 1
    assert len(files.rows("SELECT FROM sales.changes WHERE kind = 'plan'")) == 2


def test_columns_of_a_sale_are_all_compared() -> None:
    from warehouse import file_sales

    assert set(file_sales._VALUES) | {"store", "date", "day_of_week"} == set(DAY_COLUMNS)


@pytest.fixture
def database_setting(
    fresh_database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    url = fresh_database["FORECAST_DATABASE_URL"]
    monkeypatch.setenv("FORECAST_DATABASE_URL", url)
    monkeypatch.setenv("SALES_CALENDAR_START", CALENDAR[0].isoformat())
    monkeypatch.delenv("SALES_CALENDAR_END", raising=False)
    settings.cache_clear()
    yield url
    settings.cache_clear()


@pytest.mark.usefixtures("database_setting")
def test_no_file_makes_a_load_fail_with_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, folder = tmp_path / "good", tmp_path / "files [/red]"
    sample_files(stores=3, days=40, end=END).write(good)
    taken = 0
    for seed in range(3_000, 3_000 + MUTATIONS):
        what = f"seed {seed}: {mutate(good, folder, seed)}"
        options = ["--skip-bad"] if seed % 2 else []
        monkeypatch.setattr(sys, "argv", ["load", "load", f"--data={folder}", *options])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr().err.strip()
        taken += code == 0
        assert code == 0 or told.splitlines()[-1].startswith("error: "), f"{what}: {told}"
        assert "Traceback" not in told
    assert 20 < taken < MUTATIONS


def test_what_a_shell_exports_does_not_change_a_load(database_setting: str, tmp_path: Path) -> None:
    sample_files(stores=3, days=40, end=END).write(tmp_path / "files")
    hostile = {
        "PGOPTIONS": "-c default_transaction_read_only=on",
        "PGSSLMODE": "verify-full",
        "PGSERVICE": "absent",
        "PGTZ": "Pacific/Kiritimati",
        "PGDATESTYLE": "German",
        "PGCLIENTENCODING": "LATIN1",
        "PGHOSTADDR": "192.0.2.1",
        "HTTPS_PROXY": "http://192.0.2.1:9",
        "TZ": "Pacific/Kiritimati",
    }
    answer = subprocess.run(
        [sys.executable, "-m", "forecast_assets", "load", f"--data={tmp_path / 'files'}"],
        cwd=tmp_path,
        env={**os.environ, **hostile, "FORECAST_DATABASE_URL": database_setting},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"^(\d+) of \1 sales rows loaded", answer.stdout, re.MULTILINE)
