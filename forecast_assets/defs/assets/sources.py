"""External assets: what the graph reads and does not make. The lineage starts with them.

Nobody materializes them. The stream, the loader and producers write them.
"""

import dagster as dg

from forecast_assets.defs.asset_options import OWNERS, source_metadata

GROUP = "sources"

sales_topic = dg.AssetSpec(
    "sales_topic",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"kafka"},
    metadata=source_metadata("sales_topic"),
    description=(
        "The Kafka topic (SALES_TOPIC) into which the shops' systems send one JSON event for each "
        "store and day: sales, corrections and plans. Key: the store."
    ),
)

quarantined_events = dg.AssetSpec(
    "quarantined_events",
    deps=["sales_topic"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "spark"},
    metadata=source_metadata("quarantined_events"),
    description=(
        "Events that the stream could not use, with their bytes, offset and reason code. "
        "`python -m streaming_job requeue` judges them again once their cause is mended."
    ),
)

stores = dg.AssetSpec(
    "stores",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    metadata=source_metadata("stores"),
    description=(
        "The chain's stores and their attributes, from `python -m forecast_assets load`. Each is "
        "a partition of the graph; events of a store that is not here are quarantined."
    ),
)

planned_days = dg.AssetSpec(
    "planned_days",
    deps=["sales_topic", "stores"],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    metadata=source_metadata("planned_days"),
    description=(
        "What is known ahead of a store and day: open, promo, holidays. From files, and from "
        "events without sales, which `cleaned_sales` adds here."
    ),
)
