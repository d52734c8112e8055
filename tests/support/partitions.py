"""A range of partitions of which a run computes a few, for tests of the reported partitions."""

import dagster as dg

STORES = [str(store) for store in range(1, 51)]
PARTITIONS = dg.MultiPartitionsDefinition(
    {
        "date": dg.MonthlyPartitionsDefinition("2015-01-01", end_date="2015-08-01"),
        "store": dg.DynamicPartitionsDefinition(name="store"),
    }
)
COMPUTED = ["2015-06-01|3", "2015-06-01|40", "2015-07-01|7"]
RANGE = {
    "dagster/asset_partition_range_start": "2015-06-01|1",
    "dagster/asset_partition_range_end": "2015-07-01|50",
}
