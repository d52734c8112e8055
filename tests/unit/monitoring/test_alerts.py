"""The alerts: when each fires and when not, and where it leads; the configurations are valid."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecast_assets.defs.checks import WATCHED
from forecast_assets.planning.alert_messages import Rule
from local_stack import paths
from local_stack.exporter import SCRAPE_SECONDS, SCRAPE_TIMEOUT_SECONDS
from tests.support.prometheus import MONITORING, run

DAY = 86_400

#: Alert -> series (promtool's notation, one value a minute) with which it fires after its wait, and
#: the labels that it then has beside severity and component.
FIRES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "ForecastsLate": ({'forecast_problem{rule="late"}': "1x100"}, {"rule": "late"}),
    "StoresFailing": ({'forecast_problem{rule="failed"}': "2x100"}, {"rule": "failed"}),
    "ForecastsOld": ({'forecast_problem{rule="old"}': "1x100"}, {"rule": "old"}),
    "ForecastsBehind": ({'forecast_problem{rule="behind"}': "3x100"}, {"rule": "behind"}),
    "SalesMissing": ({'forecast_problem{rule="events"}': "1x100"}, {"rule": "events"}),
    "StoresSilent": ({'forecast_problem{rule="silent"}': "4x100"}, {"rule": "silent"}),
    "StreamUnwell": ({'forecast_problem{rule="stream"}': "1x100"}, {"rule": "stream"}),
    "ManyQuarantined": ({'forecast_problem{rule="quarantine"}': "1x100"}, {"rule": "quarantine"}),
    "CorrectionsOutdated": ({'forecast_problem{rule="outdated"}': "1x100"}, {"rule": "outdated"}),
    "SalesUnusual": ({'forecast_problem{rule="unusual"}': "1x100"}, {"rule": "unusual"}),
    "ChampionOld": (
        {"forecast_champion_created_timestamp_seconds": f"-{63 * DAY}x100"},
        {},
    ),
    "CheckFailed": (
        {'dagster_check_failed{asset="forecasts",check="coverage_and_bias"}': "1x100"},
        {"asset": "forecasts", "check": "coverage_and_bias"},
    ),
    "EventsExpired": (
        {
            'stream_ledger_offsets_total{topic="sales",outcome="expired"}': "0x50 7x50",
        },
        {"topic": "sales", "outcome": "expired"},
    ),
    "DaemonDead": ({'dagster_daemon_heartbeat_timestamp_seconds{daemon="SENSOR"}': "0x100"}, {}),
    "QueueStuck": (
        {'dagster_oldest_run_timestamp_seconds{dagster_job="refresh",status="QUEUED"}': "0x100"},
        {},
    ),
    "RunLong": (
        {
            'dagster_oldest_run_timestamp_seconds{dagster_job="train",status="STARTED"}': (
                f"-{DAY}x100"
            )
        },
        {"dagster_job": "train", "status": "STARTED"},
    ),
    "RunFailed": (
        {'dagster_newest_run_failed{dagster_job="refresh"}': "1x100"},
        {"dagster_job": "refresh"},
    ),
    "SensorFailing": (
        {'dagster_ticks{name="alerts",type="SENSOR",status="FAILURE"}': "2x100"},
        {"name": "alerts", "type": "SENSOR"},
    ),
    "SensorOff": (
        {'dagster_switched_off{name="refresh_when_changed",type="SENSOR"}': "1x100"},
        {"name": "refresh_when_changed", "type": "SENSOR"},
    ),
    "SensorSilent": (
        {'dagster_newest_tick_timestamp_seconds{name="alerts",type="SENSOR"}': "0x100"},
        {"name": "alerts", "type": "SENSOR"},
    ),
    "ServiceErrors": (
        {
            'forecast_service_requests_total{status="503"}': "0+6x100",
            'forecast_service_requests_total{status="200"}': "0+60x100",
        },
        {},
    ),
    "ServiceSlow": (
        {
            'forecast_service_request_seconds_bucket{le="1.0"}': "0+50x100",
            'forecast_service_request_seconds_bucket{le="2.5"}': "0+60x100",
            'forecast_service_request_seconds_bucket{le="+Inf"}': "0+60x100",
        },
        {},
    ),
    "ServiceRefuses": ({"forecast_service_refused_total": "0+1x100"}, {}),
    "TargetDown": ({'up{job="stream"}': "0x100"}, {"job": "stream"}),
    "DatabaseAway": ({'forecast_database_up{database="sales"}': "0x100"}, {"database": "sales"}),
    "ConnectionsScarce": (
        {
            'database_connections{role="sales_reader"}': "19x100",
            'database_connection_limit{role="sales_reader"}': "20x100",
        },
        {"role": "sales_reader"},
    ),
    "ReadingSlow": (
        {'forecast_database_read_seconds{database="sales"}': "3x100"},
        {"database": "sales"},
    ),
    "Watchdog": ({}, {}),
}
#: Both databases can be read.
UP = {f'forecast_database_up{{database="{name}"}}': "1x100" for name in ("sales", "dagster")}
#: Minute at which promtool looks: every wait has passed.
LOOKED_AT = 70

#: A healthy stack: nothing but the watchdog fires.
HEALTHY = {
    **{f'forecast_problem{{rule="{rule}"}}': "0x100" for rule in Rule},
    "forecast_champion_created_timestamp_seconds": f"-{30 * DAY}x100",
    'dagster_check_failed{asset="forecasts",check="coverage_and_bias"}': "0x100",
    # The alerts of the rules speak for the checks of health.
    'dagster_check_failed{asset="forecasts",check="fresh"}': "1x100",
    'stream_ledger_offsets_total{topic="sales",topic_partition="0",outcome="expired"}': "7x100",
    'stream_ledger_offsets_total{topic="sales",topic_partition="0",outcome="stored"}': "0+9x100",
    'dagster_daemon_heartbeat_timestamp_seconds{daemon="SENSOR"}': "0+60x100",
    # An old run in the queue of a backfill, while others run.
    'dagster_oldest_run_timestamp_seconds{dagster_job="refresh",status="QUEUED"}': "0x100",
    'dagster_runs{dagster_job="refresh",status="STARTED"}': "2x100",
    'dagster_oldest_run_timestamp_seconds{dagster_job="refresh",status="STARTED"}': "0x100",
    'dagster_newest_run_failed{dagster_job="refresh"}': "0x50 1x10 0x40",
    'dagster_ticks{name="alerts",type="SENSOR",status="SKIPPED"}': "20x100",
    'dagster_newest_tick_timestamp_seconds{name="alerts",type="SENSOR"}': "0+60x100",
    # A sensor that the code no longer has, and a monthly schedule.
    'dagster_newest_tick_timestamp_seconds{name="gone",type="SENSOR"}': f"-{2 * DAY}x100",
    'dagster_newest_tick_timestamp_seconds{name="train_monthly",type="SCHEDULE"}': "0x100",
    'forecast_service_requests_total{status="200"}': "0+600x100",
    'forecast_service_requests_total{status="503"}': "0+1x100",
    # Somebody waits until it is ready.
    'forecast_service_requests_total{route="/health/ready",status="503"}': "0+600x100",
    'forecast_service_request_seconds_bucket{le="0.5"}': "0+600x100",
    'forecast_service_request_seconds_bucket{le="+Inf"}': "0+600x100",
    "forecast_service_refused_total": "5x100",
    'up{job="stream"}': "1x100",
    **UP,
    'database_connections{role="sales_reader"}': "9x100",
    'database_connection_limit{role="sales_reader"}': "20x100",
    'forecast_database_read_seconds{database="sales"}': "0.1x100",
}


@pytest.fixture(scope="module")
def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def fired(
    folder: Path, cases: dict[str, tuple[list[str], dict[str, str]]], *minutes: int
) -> dict[int, dict[tuple[str, str], str]]:
    """Ask promtool which alerts fire.

    Args:
        folder: Where to write.
        cases: Name of a case -> alerts to look at and the series on which they may fire.
        minutes: When to look; `LOOKED_AT` if not given.

    Returns:
        For each minute, case and alert -> labels and annotations of what fired, as promtool writes
        them.
    """
    minutes = minutes or (LOOKED_AT,)
    content = {
        "rule_files": [str(MONITORING / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                # Nothing is expected, so promtool says what it got.
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []}
                    for alert in looked_at
                    for minute in minutes
                ],
            }
            for name, (looked_at, series) in cases.items()
        ],
    }
    path = folder / "alerts.test.yml"
    path.write_text(yaml.safe_dump(content))
    answer = run("promtool", "test", "rules", path)
    told: dict[int, dict[tuple[str, str], str]] = {minute: {} for minute in minutes}
    for part in re.split(r"\n\s+name: ", answer.stdout + answer.stderr)[1:]:
        name = part.partition(",")[0]
        for block in re.split(r"alertname: ", part)[1:]:
            at = re.search(r"time: (?:(\d+)h)?(?:(\d+)m)?", block)
            assert at is not None, block
            minute = 60 * int(at[1] or 0) + int(at[2] or 0)
            told[minute][name, block.partition(",")[0]] = block.partition("got:")[2]
    assert answer.returncode == any(told.values()), answer.stdout + answer.stderr
    return told


@pytest.fixture(scope="module")
def firing(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What fires on the series of `FIRES`."""
    cases = {alert: ([alert], UP | series) for alert, (series, _) in FIRES.items()}
    return fired(tmp_path_factory.mktemp("firing"), cases)[LOOKED_AT]


@pytest.mark.parametrize("alert", FIRES)
def test_an_alert_fires_on_what_it_is_for(
    alert: str, alerts: dict[str, dict[str, Any]], firing: dict[tuple[str, str], str]
) -> None:
    told = firing[alert, alert]
    labels = FIRES[alert][1] | {"alertname": alert} | alerts[alert]["labels"]
    for name, value in labels.items():
        assert f'{name}="{value}"' in told
    assert "<error" not in told and "<no value>" not in told, told


def test_no_alert_fires_on_a_healthy_stack(tmp_path: Path) -> None:
    told = fired(tmp_path, {"healthy": (list(FIRES), HEALTHY)})[LOOKED_AT]
    assert set(told) == {("healthy", "Watchdog")}, told


def test_a_daemon_that_never_ran_is_told(tmp_path: Path) -> None:
    series = 'forecast_database_up{database="dagster"}'
    # Without its database nothing is known of it.
    cases = {f"up{up}": (["DaemonDead"], {series: f"{up}x100"}) for up in (0, 1)}
    assert set(fired(tmp_path, cases)[LOOKED_AT]) == {("up1", "DaemonDead")}


#: Alerts of what the exporter reads and that are over as soon as it says so, and the database.
READ = {
    **dict.fromkeys(
        (
            "ForecastsLate", "StoresFailing", "ForecastsOld", "ForecastsBehind", "ChampionOld",
            "SalesMissing", "StoresSilent", "ManyQuarantined", "CorrectionsOutdated",
            "SalesUnusual", "StreamUnwell",
        ),
        "sales",
    ),
    **dict.fromkeys(
        (
            "CheckFailed", "DaemonDead", "QueueStuck", "RunLong", "RunFailed", "SensorFailing",
            "SensorOff", "SensorSilent",
        ),
        "dagster",
    ),
}  # fmt: skip
#: What the series say when their database answers again; the others are gone for good.
BACK = {
    **{alert: "0x50" for alert, database in READ.items() if database == "sales"},
    "DaemonDead": f"{70 * 60}+60x50",
    "ChampionOld": "0x50",
}


def interrupted(is_exporter_down: bool, is_back: bool = False) -> dict[str, str]:
    """Return the series of `READ`; nothing is known from minute 65 to 70, or for ever."""
    away = "stale _x4" if is_exporter_down else "0x4"
    then = "1x50" if is_back else "_x50" if is_exporter_down else "0x50"
    series = dict.fromkeys(UP, f"1x64 {away} {then}")
    for alert in READ:
        for name, values in FIRES[alert][0].items():
            value = values.partition("x")[0]
            series[name] = f"{value}x64 stale _x4 {BACK.get(alert, '') if is_back else ''}".rstrip()
    return series


def test_a_database_that_is_away_is_no_all_clear(tmp_path: Path) -> None:
    cases = {str(is_down): (list(READ), interrupted(is_down)) for is_down in (False, True)}
    everything = {(case, alert) for case in cases for alert in READ}
    for minute, told in fired(tmp_path, cases, 64, 65, 66, 80, 110).items():
        assert set(told) == everything, minute


def test_what_is_over_when_the_database_is_back_resolves_at_once(tmp_path: Path) -> None:
    cases = {str(is_down): (list(READ), interrupted(is_down, True)) for is_down in (False, True)}
    told = fired(tmp_path, cases, 69, 71)
    assert set(told[69]) == {(case, alert) for case in cases for alert in READ}
    assert told[71] == {}


def test_an_exporter_that_is_away_starts_no_alert_about_what_it_reads(tmp_path: Path) -> None:
    gone = {name: values.replace("x100", "x50 stale") for name, values in HEALTHY.items()}
    assert fired(tmp_path, {"away": (list(READ), gone)}, 110) == {110: {}}


def test_every_alert_is_tried(alerts: dict[str, dict[str, Any]]) -> None:
    assert set(FIRES) == set(alerts)


def test_every_rule_of_health_has_an_alert(alerts: dict[str, dict[str, Any]]) -> None:
    watched = {
        match[1]
        for rule in alerts.values()
        if (match := re.fullmatch(r'rule:forecast_problem:last\{rule="(\w+)"\} > 0', rule["expr"]))
    }
    # That the database does not answer, the exporter says in its own words.
    assert watched == {rule.value for rule in Rule} - {Rule.DATABASE.value}


def test_checks_of_health_are_told_once(alerts: dict[str, dict[str, Any]]) -> None:
    left_out = re.search(r'check!~"([^"]*)"', alerts["CheckFailed"]["expr"])
    assert left_out is not None
    assert set(left_out[1].split("|")) == {spec.name for spec, _ in WATCHED.values()}


def test_every_alert_leads_to_its_entry(alerts: dict[str, dict[str, Any]]) -> None:
    page = (paths.REPOSITORY / "docs" / "operations.md").read_text()
    entries = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket", "none")
        assert rule["annotations"]["summary"].endswith(".")
    assert set(alerts) <= set(entries), "alerts without an entry"
    for name in alerts:
        entry = page.split(f"\n### {name}\n")[1].split("\n#")[0]
        assert "**Look.**" in entry and "**Do.**" in entry, name


def test_the_configurations_are_valid(tmp_path: Path) -> None:
    rules = run("promtool", "check", "rules", MONITORING / "alerts.yml")
    assert rules.returncode == 0, rules.stderr
    # Promtool wants the files that the configuration names.
    (tmp_path / "metrics_token").write_text("token")
    text = (MONITORING / "prometheus.yml").read_text()
    text = text.replace("/run/secrets", str(tmp_path))
    text = text.replace("/etc/prometheus", str(MONITORING))
    (tmp_path / "prometheus.yml").write_text(text)
    prometheus = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert prometheus.returncode == 0, prometheus.stdout + prometheus.stderr
    alertmanager = run("amtool", "check-config", MONITORING / "alertmanager.yml")
    assert alertmanager.returncode == 0, alertmanager.stdout + alertmanager.stderr


def test_a_scrape_has_time_to_read_the_databases() -> None:
    """Reading took almost five seconds on a busy machine."""
    scrapes = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["global"]
    assert (scrapes["scrape_interval"], scrapes["scrape_timeout"]) == (
        f"{SCRAPE_SECONDS}s",
        f"{SCRAPE_TIMEOUT_SECONDS}s",
    )


def test_a_message_keeps_apart_what_fires_and_what_is_over(tmp_path: Path) -> None:
    receivers = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())["receivers"]
    (text,) = (s["text"] for receiver in receivers for s in receiver.get("slack_configs", []))
    data = tmp_path / "data.json"
    data.write_text(
        json.dumps(
            {
                "status": "firing",
                "alerts": [
                    {"status": status, "annotations": {"summary": job, "runbook": "page"}}
                    for status, job in (("firing", "exporter"), ("resolved", "stream"))
                ],
            }
        )
    )
    answer = run(
        "amtool", "template", "render", f"--template.text={text}", f"--template.data={data}",
        f"--template.glob={tmp_path}/*.tmpl",
    )  # fmt: skip
    lines = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    assert " ".join(lines) == "exporter Steps: page Over: stream", answer.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "nobody"),
        (["alertname=DaemonDead", "severity=page"], "chat"),
        (["alertname=RunFailed", "severity=ticket"], "chat"),
    ],
)
def test_alerts_go_where_somebody_reads_them(labels: list[str], receiver: str) -> None:
    answer = run(
        "amtool", "config", "routes", "test",
        f"--config.file={MONITORING / 'alertmanager.yml'}", *labels,
    )  # fmt: skip
    assert answer.stdout.strip() == receiver, answer.stderr
