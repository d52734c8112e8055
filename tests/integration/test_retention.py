"""What retention removes from the sales database, by whom, and what stays."""

from datetime import UTC, date, datetime

import psycopg
import pytest

from forecast_assets.defs.retention import clean_up
from forecast_assets.settings import settings
from streaming_job.audit import audit
from tests.support.chain import Chain
from warehouse import checks, retention

YEAR = 366


@pytest.fixture
def aged(forecast_chain: Chain, forecast_database: dict[str, str]) -> Chain:
    """A chain with a correction and a second origin, all of it written two years ago."""
    chain = forecast_chain
    chain.load(date(2015, 6, 12), as_of=datetime(2016, 1, 1, tzinfo=UTC), s2_2015_04_14=3)
    chain.refresh()
    chain.load_day(date(2015, 6, 13))
    chain.refresh()
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("UPDATE sales.raw_sales SET ingest_time = now() - interval '2 years'")
        owner.execute("UPDATE sales.forecasts_issued SET written_at = now() - interval '2 years'")
    return chain


def held(chain: Chain) -> tuple[int, int]:
    rows = chain.frame(
        "SELECT (SELECT count(*) FROM sales.raw_sales) AS events, "
        "(SELECT count(*) FROM sales.forecasts_issued) AS forecasts"
    )
    return int(rows["events"][0]), int(rows["forecasts"][0])


def run(chain: Chain) -> None:
    job = chain.repository.get_job(clean_up.name)
    assert job.execute_in_process(instance=chain.instance).success


def test_by_default_everything_stays(aged: Chain) -> None:
    before = held(aged)
    run(aged)
    assert held(aged) == before


def test_superseded_events_go_and_every_offset_is_accounted_for(
    aged: Chain, forecast_database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = aged
    events, forecasts = held(chain)
    cleaned = "SELECT store, date, sales, event_time FROM sales.cleaned_sales ORDER BY store, date"
    before = chain.frame(cleaned)
    monkeypatch.setenv("FORECAST_KEEP_SUPERSEDED_DAYS", str(YEAR))
    settings.cache_clear()
    run(chain)
    assert held(chain) == (events - 1, forecasts), "the event of 14 April that was corrected"
    with chain.warehouse.transaction() as transaction:
        assert checks.unbalanced(transaction) == []
    assert audit(forecast_database["STREAM_DATABASE_URL"]).faults == []

    chain.run("refresh", "2015-04-01|1", "2015-04-01|6")
    assert chain.frame(cleaned).equals(before), "what counts can be computed again"
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("DELETE FROM sales.removed_events")
    with chain.warehouse.transaction() as transaction:
        assert len(checks.unbalanced(transaction)) == 1


def test_old_origins_go_and_the_forecasts_in_force_stay(
    aged: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = aged
    in_force = "SELECT * FROM sales.current_forecasts ORDER BY store, date"
    scores = "SELECT * FROM sales.forecast_accuracy ORDER BY store, date, lead_week"
    before, scored = chain.frame(in_force), chain.frame(scores)
    assert len(scored)
    monkeypatch.setenv("FORECAST_KEEP_ORIGINS_DAYS", str(YEAR))
    settings.cache_clear()
    run(chain)
    assert chain.frame(in_force).equals(before)
    assert chain.frame(scores).equals(scored)
    left = chain.frame("SELECT DISTINCT origin FROM sales.forecasts_issued")
    assert left["origin"].dt.date.tolist() == [date(2015, 6, 13)]


def test_what_is_young_stays_whatever_the_assets_ask_for(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    chain.load_day(date(2015, 6, 13))
    chain.refresh()
    before = held(chain)
    with chain.warehouse.transaction() as transaction:
        assert retention.remove_old_origins(transaction, YEAR) == 0, "issued a moment ago"
        assert retention.remove_superseded_events(transaction, YEAR) == 0
    for remove in (retention.remove_old_origins, retention.remove_superseded_events):
        with (
            pytest.raises(Exception, match="last 366 days stay"),
            chain.warehouse.transaction() as transaction,
        ):
            remove(transaction, YEAR - 1)
    assert held(chain) == before
    for role in ("READER_DATABASE_URL", "STREAM_DATABASE_URL"):
        with (
            psycopg.connect(forecast_database[role]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT sales.remove_old_origins(1000)")
