"""The rules about Dagster, and that Prometheus has the same."""

import math
import re
from dataclasses import replace

import yaml

from forecast_assets.planning import dagster_health
from forecast_assets.planning.dagster_health import DagsterFacts, dagster_problems
from local_stack import paths

NOW = 1_000_000.0
WELL = DagsterFacts(
    heartbeats=[{"daemon": "SENSOR", "beat_seconds": NOW - 20, "errors": 0}],
    ticks=[
        {
            "name": "refresh_changes",
            "type": "SENSOR",
            "status": "SKIPPED",
            "ticks_in_10_minutes": 9,
            "newest_seconds": NOW - 5,
        }
    ],
    newest_runs=[{"job": "refresh", "status": "SUCCESS"}],
    open_runs=[{"job": "refresh", "status": "STARTED", "oldest_seconds": NOW - 60, "runs": 1}],
    checks=[{"asset": "forecasts", "name": "fresh", "status": "SUCCEEDED"}],
)


def alerts(facts: DagsterFacts) -> list[str]:
    return [found.alert for found in dagster_problems(facts, NOW)]


def test_nothing_is_wrong_with_a_dagster_that_works() -> None:
    assert alerts(WELL) == []


def test_each_rule_is_violated_by_its_fault() -> None:
    beat = {"daemon": "SENSOR", "beat_seconds": NOW - 181, "errors": 0}
    assert alerts(replace(WELL, heartbeats=[beat])) == ["DaemonDead"]
    assert alerts(replace(WELL, heartbeats=[])) == ["DaemonDead"]
    told = beat | {"beat_seconds": NOW - 5, "errors": 2}
    assert alerts(replace(WELL, heartbeats=[told])) == ["DaemonDead"]
    queued = {"job": "train", "status": "QUEUED", "oldest_seconds": NOW - 601, "runs": 1}
    assert alerts(replace(WELL, open_runs=[queued])) == ["QueueStuck"]
    # While something runs, the queue waits for it.
    assert alerts(replace(WELL, open_runs=[*WELL.open_runs, queued])) == []
    long = WELL.open_runs[0] | {"oldest_seconds": NOW - 6 * 3600 - 1}
    assert alerts(replace(WELL, open_runs=[long])) == ["RunLong"]
    assert alerts(replace(WELL, newest_runs=[{"job": "train", "status": "FAILURE"}])) == [
        "RunFailed"
    ]
    failing = WELL.ticks[0] | {"status": "FAILURE", "ticks_in_10_minutes": 3}
    assert alerts(replace(WELL, ticks=[*WELL.ticks, failing])) == ["SensorFailing"]
    silent = WELL.ticks[0] | {"newest_seconds": NOW - 601}
    assert alerts(replace(WELL, ticks=[silent])) == ["SensorSilent"]
    forgotten = WELL.ticks[0] | {"newest_seconds": NOW - 86_401}
    assert alerts(replace(WELL, ticks=[forgotten])) == []
    failed = WELL.checks[0] | {"status": "FAILED"}
    assert alerts(replace(WELL, checks=[failed])) == ["CheckFailed"]


def test_prometheus_has_the_same_bounds() -> None:
    groups = yaml.safe_load(paths.ALERT_RULES.read_text())["groups"]
    rules = {rule.get("alert"): rule["expr"] for group in groups for rule in group["rules"]}

    def bounds(alert: str) -> list[int]:
        numbers = re.findall(r"(?:[<>] )?\b(\d+(?: \* \d+)?)\b(?= >|\s|$)", rules[alert])
        return [
            math.prod(int(factor) for factor in number.split(" * "))
            for number in numbers
            if number not in ("0", "1")
        ]

    assert bounds("DaemonDead") == [dagster_health.DAEMON_SILENCE_SECONDS]
    assert bounds("QueueStuck") == [dagster_health.QUEUED_SECONDS]
    assert bounds("RunLong") == [dagster_health.RUN_SECONDS]
    assert bounds("SensorSilent") == [
        dagster_health.FORGOTTEN_SECONDS,
        dagster_health.SENSOR_SILENCE_SECONDS,
    ]
