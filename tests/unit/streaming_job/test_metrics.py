"""The metrics as Prometheus reads them."""

import urllib.error
import urllib.request

import pytest

from streaming_job.errors import SettingsError
from streaming_job.ledger_rows import Counts
from streaming_job.metrics import MetricsServer, exposition
from streaming_job.run import Progress

PROGRESS = Progress(Counts(10, 2, 1, 3), 5.5, {1: 7, 0: 4}, {"nan": 2}, 1_700_000_000.0, 6, 0.25)


def test_every_sample_has_a_type_and_the_value_given() -> None:
    lines = exposition(PROGRESS, starts=2).splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples == {
        "stream_starts_total": "2",
        "stream_stored_total": "10",
        "stream_gaps_total": "1",
        "stream_expired_total": "3",
        "stream_outdated_corrections_total": "6",
        "stream_batch_seconds": "0.25",
        "stream_rows_per_second": "5.5",
        "stream_last_commit_timestamp_seconds": "1700000000.0",
        'stream_quarantined{reason="nan"}': "2",
        'stream_lag_events{partition="0"}': "4",
        'stream_lag_events{partition="1"}': "7",
    }
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert typed == {name.split("{")[0] for name in samples}


def test_served_where_asked_and_a_taken_port_is_named() -> None:
    server = MetricsServer(0, "127.0.0.1")
    try:
        server.update(PROGRESS, starts=1)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert b"stream_stored_total 10" in answer.read()
        with pytest.raises(SettingsError, match="STREAM_METRICS_PORT"):
            MetricsServer(server.port, "127.0.0.1")
        # Another address of loopback: the port is free there.
        other = MetricsServer(server.port, "127.0.0.2")
        other.close()
        with pytest.raises(SettingsError, match="STREAM_METRICS_HOST"):
            MetricsServer(0, "192.0.2.1")
    finally:
        server.close()


def test_a_token_lets_in_prometheus_and_nobody_else() -> None:
    server = MetricsServer(0, "127.0.0.1", "a-token-of-the-test")
    address = f"http://127.0.0.1:{server.port}/metrics"
    try:
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "Bearer é"}):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(urllib.request.Request(address, headers=headers))
        bearer = {"Authorization": "Bearer a-token-of-the-test"}
        with urllib.request.urlopen(urllib.request.Request(address, headers=bearer)) as answer:
            assert b"stream_starts_total" in answer.read()
    finally:
        server.close()
