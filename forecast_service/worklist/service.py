"""Ranks the stores that need a person.

All stores' facts are read at once and judged in Python. The result is remembered until a refresh,
an adjustment or the clock may have changed it.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from forecast_service.formats import Format, etag_of, file_bytes
from forecast_service.pages import encode_cursor
from forecast_service.state import State
from forecast_service.worklist.rules import Code, Reason, reasons
from warehouse import worklist as facts
from warehouse.service.worklist import AHEAD_DAYS, VERSION

#: Columns of the file, which has one row per store and reason.
FILE_SCHEMA = pa.schema(
    [
        *(("rank", pa.int32()), ("store", pa.int32()), ("origin", pa.date32())),
        *(("sales_at_stake", pa.float64()), ("sales_in_question", pa.float64())),
        *(("code", pa.string()), ("sentence", pa.string()), ("sales", pa.float64())),
    ]
)


@dataclass(frozen=True)
class Ranking:
    """The stores that need a person, the most urgent first.

    Attributes:
        version: Changes when the ranking may have changed.
        today: The newest day whose sales are known.
        stores: How many stores were looked at.
        items: As `schemas.WorkItem`.
    """

    version: str
    today: date
    stores: int
    items: list[dict[str, Any]]

    def matching(self, codes: Collection[Code], stores: Collection[int]) -> list[dict[str, Any]]:
        """Return the items with any of some reasons, of some stores; all if none is named."""
        return [
            item
            for item in self.items
            if (not stores or item["store"] in stores)
            and (not codes or any(reason["code"] in codes for reason in item["reasons"]))
        ]

    def counts(self) -> dict[str, int]:
        """Return the number of stores by reason, the most frequent first."""
        found = Counter(
            code
            for item in self.items
            for code in {str(reason["code"]) for reason in item["reasons"]}
        )
        return dict(found.most_common())


async def current(state: State) -> Ranking:
    """Return the ranking of what is known now.

    Raises:
        NotYetError: There is no forecast yet.
    """
    version = etag_of("worklist", await state.database.row(VERSION))
    ranking: Ranking = await state.newest_worklist.get(version, lambda: _rank(state, version))
    return ranking


def page(
    ranking: Ranking, codes: Collection[Code], stores: Collection[int], after: int, limit: int
) -> dict[str, Any]:
    """Return a page of a ranking.

    Args:
        ranking: The ranking.
        codes: Reasons, of which an item has at least one; all if empty.
        stores: The stores; all if empty.
        after: Rank of the last item of the page before.
        limit: Most items.
    """
    rest = [item for item in ranking.matching(codes, stores) if item["rank"] > after]
    items = rest[:limit]
    return {
        "today": ranking.today,
        "last_day": ranking.today + timedelta(days=AHEAD_DAYS),
        "stores": ranking.stores,
        "counts": ranking.counts(),
        "items": items,
        "next": encode_cursor(items[-1]["rank"]) if len(rest) > limit else None,
    }


def as_file(items: Sequence[dict[str, Any]], kind: Format) -> bytes:
    """Return items as a file, one row per store and reason."""
    rows = [
        {**item, **reason, "code": str(reason["code"])}
        for item in items
        for reason in item["reasons"]
    ]
    columns = {
        field.name: pa.array([row[field.name] for row in rows], field.type) for field in FILE_SCHEMA
    }
    return file_bytes(pa.table(columns, FILE_SCHEMA), kind)


async def _rank(state: State, version: str) -> Ranking:
    settings, database = state.settings, state.database
    newest = await database.compute(facts.today)
    ahead, behind = await asyncio.gather(
        database.compute(lambda t: facts.plans(t, newest, settings.max_open_minutes)),
        database.compute(lambda t: facts.past(t, newest)),
    )
    stores = facts.by_store(ahead, behind)
    judged = [(store, reasons(store, newest, settings.max_age_days)) for store in stores]
    items = [_item(store, some) for store, some in judged if some]
    items.sort(key=lambda item: (-item["sales_in_question"], item["store"]))
    ranked = [{"rank": rank, **item} for rank, item in enumerate(items, 1)]
    return Ranking(version, newest, len(stores), ranked)


def _item(store: facts.StoreFacts, some: list[Reason]) -> dict[str, Any]:
    return {
        "store": store.ahead["store"],
        "origin": store.ahead["origin"],
        "sales_at_stake": float(store.ahead["sales"]),
        "sales_in_question": sum(reason.sales for reason in some),
        "reasons": [
            {"code": reason.code, "sentence": reason.sentence, "sales": reason.sales}
            for reason in some
        ],
    }
