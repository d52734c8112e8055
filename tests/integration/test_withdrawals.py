"""Sales that should never have been stored are withdrawn, and forecasts follow."""

from datetime import date

import psycopg

from streaming_job.audit import audit
from streaming_job.withdraw import withdraw
from tests.support.chain import END, STORES, Chain

FUTURE = date(2015, 7, 30)


def origins(chain: Chain) -> dict[int, date]:
    rows = chain.frame(
        "SELECT store, max(origin) AS origin FROM sales.current_forecasts GROUP BY store"
    )
    return {int(row.store): row.origin.date() for row in rows.itertuples()}


def test_a_withdrawn_future_sale_gives_its_store_its_origin_back(
    forecast_chain: Chain, forecast_database: dict[str, str]
) -> None:
    chain = forecast_chain
    before = origins(chain)
    assert before == dict.fromkeys(range(1, STORES + 1), date(2015, 6, 12))
    # As if stored before such sales were quarantined.
    with psycopg.connect(forecast_database["OWNER_DATABASE_URL"]) as owner:
        owner.execute("SELECT sales.ensure_months(%s, %s)", (FUTURE, FUTURE))
        owner.execute(
            "INSERT INTO sales.raw_sales SELECT stream_id, topic_partition, "
            "(SELECT max(kafka_offset) + 1 FROM sales.raw_sales), event_time, now(), 2, %s, 4, "
            "4321, 432, 1, 0, '0', 0 FROM sales.raw_sales WHERE store = 2 LIMIT 1",
            (FUTURE,),
        )
        owner.execute(
            "UPDATE sales.stream_offsets SET next_offset = next_offset + 1, stored = stored + 1"
        )
        owner.execute(
            "INSERT INTO sales.changes (kind, stores, first_days) VALUES ('stream', '{2}', %s)",
            ([FUTURE],),
        )
    chain.refresh()
    assert origins(chain) == before | {2: FUTURE}

    url = forecast_database["STREAM_DATABASE_URL"]
    assert withdraw(url, 2, FUTURE, "a mistyped date").remaining is None
    assert origins(chain) == before, "what was made from the sale is in force no longer"
    chain.refresh()
    assert origins(chain) == before
    rows = chain.frame(f"SELECT store FROM sales.cleaned_sales WHERE date > '{END}'")
    assert rows.empty
    assert audit(url).faults == []
