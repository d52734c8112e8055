"""Schema checks: an asset validates its rows before it writes them.

The schemas are in `forecasting/schemas`; checks that compare partitions are in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa

SCHEMA_CHECK = "schema"

#: How many violations an error message lists.
LISTED_VIOLATIONS = 5


class SchemaViolationError(Exception):
    """Rows violate their schema, so none of them was written."""


def schema_check(asset: str) -> dg.AssetCheckSpec:
    """Return the specification of an asset's schema check."""
    return dg.AssetCheckSpec(
        SCHEMA_CHECK,
        asset=asset,
        blocking=True,
        description="Every written row has the columns, types and values that its schema requires.",
    )


def validate(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows if they satisfy their schema.

    Raises:
        SchemaViolationError: They do not; the message lists the first violations.
    """
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.head(LISTED_VIOLATIONS).to_dict("records")
        listed = "; ".join(
            f"{case['column']} {case['check']}: {case['failure_case']!r} (row {case['index']})"
            for case in cases
        )
        raise SchemaViolationError(
            f"{len(errors.failure_cases)} values violate the schema {schema.name!r}: {listed}"
        ) from errors


@contextmanager
def record_schema_check(results: list[dg.AssetCheckResult]) -> Iterator[None]:
    """Turn a schema violation into a failed check; the inner transaction is rolled back by then.

    Args:
        results: Receives one result.
    """
    try:
        yield
    except SchemaViolationError as error:
        results.append(
            dg.AssetCheckResult(check_name=SCHEMA_CHECK, passed=False, description=str(error))
        )
    else:
        results.append(dg.AssetCheckResult(check_name=SCHEMA_CHECK, passed=True))
