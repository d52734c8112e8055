"""What the service asks Dagster: it fits the installed schema, and a dead daemon is noticed."""

from datetime import UTC, datetime

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from forecast_assets.planning.dagster_health import DAEMON_SILENCE_SECONDS
from forecast_service import dagster


@pytest.mark.parametrize("query", [dagster._LAUNCH, dagster._FIND, dagster._DAEMONS])
def test_dagster_understands_the_query(query: str) -> None:
    assert validate(create_schema().graphql_schema, parse(query)) == []


def test_the_daemon_is_dead_when_the_alert_says_so() -> None:
    assert dagster.DAEMON_SILENCE.total_seconds() == DAEMON_SILENCE_SECONDS


NOW = datetime(2015, 6, 19, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds_ago", "said"),
    [
        ([10, 400], None),
        ([200, 400], "no daemon since 2015-06-19 11:56 UTC"),
        ([None, None], "no daemon running"),
        ([], "no daemon running"),
    ],
)
def test_a_dead_daemon_is_told(seconds_ago: list[int | None], said: str | None) -> None:
    beats = [None if ago is None else NOW.timestamp() - ago for ago in seconds_ago]
    daemons = [{"required": True, "lastHeartbeatTime": beat} for beat in beats]
    daemons.append({"required": False, "lastHeartbeatTime": NOW.timestamp()})
    found = dagster.daemon_problem(daemons, NOW)
    assert (found is None) if said is None else said in str(found)
