"""The stream's progress as Prometheus metrics: counts only, for whoever brings the token.

The figures come from `run.Progress`.
"""

from __future__ import annotations

import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from streaming_job.errors import SettingsError
from streaming_job.run import Progress

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(progress: Progress | None, starts: int) -> str:
    """Return the metrics in Prometheus's text format.

    Args:
        progress: Without it, the text holds `stream_starts_total` only.
        starts: Number of times that the query was started from the ledger.
    """
    lines = _header("stream_starts_total", "counter", "Starts of the query from the ledger.")
    lines.append(f"stream_starts_total {starts}")
    if progress is None:
        return "\n".join(lines) + "\n"
    counts = progress.counts
    for name, kind, text, value in (
        ("stream_stored_total", "counter", "Events stored.", counts.stored),
        ("stream_gaps_total", "counter", "Offsets that hold no event.", counts.gaps),
        ("stream_expired_total", "counter", "Unread events deleted by retention.", counts.expired),
        (
            "stream_outdated_corrections_total",
            "counter",
            "Corrections that arrived late and do not count, because their own time is earlier.",
            progress.outdated_corrections,
        ),
        ("stream_rows_per_second", "gauge", "Events per second.", progress.rows_per_second),
        (
            "stream_last_commit_timestamp_seconds",
            "gauge",
            "When a topic-partition last advanced.",
            progress.last_commit,
        ),
    ):
        lines += [*_header(name, kind, text), f"{name} {value}"]
    if progress.batch_seconds is not None:
        text = "Seconds that the newest batch with events took."
        lines += _header("stream_batch_seconds", "gauge", text)
        lines.append(f"stream_batch_seconds {progress.batch_seconds}")
    lines += _header("stream_quarantined", "gauge", "Events in quarantine, by reason.")
    lines += [
        f'stream_quarantined{{reason="{reason}"}} {count}'
        for reason, count in progress.quarantined_by_reason.items()
    ]
    lines += _header("stream_lag_events", "gauge", "Events not yet stored, by topic-partition.")
    lines += [
        f'stream_lag_events{{partition="{partition}"}} {events}'
        for partition, events in sorted(progress.lag.items())
    ]
    return "\n".join(lines) + "\n"


def _header(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


class MetricsServer:
    """An HTTP server that publishes the newest metrics under /metrics."""

    def __init__(self, port: int, host: str, token: str | None = None) -> None:
        """Bind the port and serve from a thread.

        Args:
            port: The port; 0 selects a free one.
            host: The address to listen on.
            token: What a scrape must bring as bearer token; without one, nothing is asked.

        Raises:
            SettingsError: The server cannot bind the address.
        """
        self._text = exposition(None, 0)
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = 200 if self.path in ("/", "/metrics") else 404
                if token is not None and not self._brings(token):
                    status = 401
                body = metrics._text.encode() if status == 200 else b""
                self.send_response(status)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _brings(self, token: str) -> bool:
                given = self.headers.get("Authorization", "").encode("latin-1", "replace")
                return hmac.compare_digest(given, f"Bearer {token}".encode())

            def log_message(self, *_: object) -> None:
                """Log nothing: a scrape is not worth a line."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot serve metrics on {host}:{port} ({error.strerror}): set "
                "STREAM_METRICS_PORT to a free port and STREAM_METRICS_HOST to an address of this "
                "machine, or leave the port empty to serve none"
            ) from error
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def update(self, progress: Progress, starts: int) -> None:
        """Replace the metrics."""
        self._text = exposition(progress, starts)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
