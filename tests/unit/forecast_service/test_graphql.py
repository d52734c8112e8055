"""The queries that the service sends fit the schema of the Dagster that is installed."""

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from forecast_service import dagster


@pytest.mark.parametrize("query", [dagster._LAUNCH, dagster._FIND, dagster._VERSION])
def test_dagster_understands_the_query(query: str) -> None:
    assert validate(create_schema().graphql_schema, parse(query)) == []
