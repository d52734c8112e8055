"""The command line: `python -m streaming_job run|drain|produce|audit|requeue`.

Exit codes: 0 done, 1 the audit found a fault, 2 wrong usage, 3 refused: a person must decide,
4 PostgreSQL or Kafka does not answer, 5 Spark's Java process died (start again).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streaming_job import audit as audits
from streaming_job import producer
from streaming_job.errors import RefusedError, SettingsError, StreamError
from streaming_job.events import Reason
from streaming_job.settings import StreamSettings, load_settings

app = typer.Typer(
    help="The stream of sales events from Kafka to PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, soft_wrap=True)

UNBALANCED, REFUSED, UNAVAILABLE, SPARK_GONE = 1, 3, 4, 5

Accept = Annotated[
    bool,
    typer.Option(
        "--accept-recreated-topic",
        help="The topic was made anew: take it as another stream, from its first event.",
    ),
]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from streaming_job.run import SparkGoneError

    try:
        yield
    except StreamError as error:
        stderr.print(f"[red]error:[/red] {_escaped(str(error))}")
        if isinstance(error, RefusedError | SettingsError):
            raise typer.Exit(REFUSED) from error
        raise typer.Exit(
            SPARK_GONE if isinstance(error, SparkGoneError) else UNAVAILABLE
        ) from error


def _escaped(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown.replace("[", r"\[")


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
    )
    # Their reconnect chatter would bury the lines that a person should read.
    for noisy in ("kafka", "py4j", "pyspark"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


@app.command()
def run(
    accept_recreated_topic: Accept = False,
    progress_seconds: Annotated[
        float, typer.Option(min=0.5, help="Seconds between progress lines.")
    ] = 5.0,
) -> None:
    """Takes events as they come, until SIGTERM or Ctrl-C."""
    from streaming_job import metrics
    from streaming_job import run as runs

    _log_to_stderr()
    log = logging.getLogger("streaming_job")
    with _one_line_errors():
        settings = load_settings()
        port = settings.stream_metrics_port
        server = None if port is None else metrics.MetricsServer(port)
        if server is not None:
            log.info("metrics at http://%s:%d/metrics", metrics.LOOPBACK, server.port)

        def report(progress: runs.Progress) -> None:
            log.info(progress.summary())
            if server is not None:
                server.update(progress, supervisor.starts)

        supervisor = runs.Supervisor(
            settings,
            on_progress=report,
            accept_recreated_topic=accept_recreated_topic,
            progress_seconds=progress_seconds,
        )
        with runs.stop_on_signals(supervisor.stopping):
            supervisor.run()
        log.info("stopped")


@app.command()
def drain(accept_recreated_topic: Accept = False) -> None:
    """Takes what the topic holds now, and ends."""
    from streaming_job import drain as drains

    _log_to_stderr()
    with _one_line_errors():
        counts = drains.drain(load_settings(), accept_recreated_topic=accept_recreated_topic)
    stdout.print(
        f"stored {counts.stored:,}, quarantined {counts.quarantined:,}, "
        f"offsets without an event {counts.gaps:,}, expired unread {counts.expired:,}"
    )


@app.command()
def produce(
    data: Annotated[Path, typer.Option(help="Folder with train.csv, plain or .gz.")],
    day: Annotated[
        datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="The (first) day to send.")
    ],
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The last day to send; by default only the first."),
    ] = None,
) -> None:
    """Sends the sales of one or more days to the topic."""
    with _one_line_errors():
        settings = load_settings()
        rows = producer.read_days(data, day.date(), (until or day).date())
        with Progress(
            TextColumn("sending"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=stderr,
        ) as bar:
            task = bar.add_task("sending", total=len(rows))
            sent = producer.produce(
                rows,
                bootstrap_servers=settings.kafka_bootstrap_servers,
                topic=settings.sales_topic,
                on_progress=lambda done, _total: bar.update(task, completed=done),
            )
    stdout.print(f"sent {sent:,} events to {settings.sales_topic}")


@app.command()
def requeue(
    reason: Annotated[
        list[Reason] | None,
        typer.Option(help="Only events quarantined for this reason; may be given again."),
    ] = None,
) -> None:
    """Puts quarantined events through again, once their cause is mended."""
    from streaming_job import requeue as requeues

    _log_to_stderr()
    log = logging.getLogger("streaming_job")
    with _one_line_errors():
        stored = requeues.requeue(
            load_settings(),
            reasons=reason or list(Reason),
            on_progress=lambda seen, good: log.info("looked at %d, stored %d", seen, good),
        )
    stdout.print(f"stored {stored:,} events that were in quarantine")


@app.command()
def audit(
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare with every event that Kafka still retains.")
    ] = False,
) -> None:
    """Proves that every offset taken is one stored row or one quarantined event."""
    with _one_line_errors():
        settings: StreamSettings = load_settings()
        report = audits.deep_audit(settings) if deep else audits.audit(settings.database_url)
    table = Table("topic-partition", "offsets", "stored", "quarantined", "gaps", "expired")
    for line in report.partitions:
        table.add_row(
            f"{line.name} (stream {line.stream_id})",
            f"{line.first_offset} … {line.next_offset}",
            *(
                str(value)
                for value in (line.raw_rows, line.quarantine_rows, line.gaps, line.expired)
            ),
        )
    stdout.print(table)
    if deep:
        stdout.print(f"held {report.compared:,} events of Kafka against the tables")
    for fault in report.faults:
        stderr.print(f"[red]fault:[/red] {_escaped(fault)}")
    if not report.balanced:
        stderr.print("do not delete anything; keep the topic, and look at the offsets above")
        raise typer.Exit(UNBALANCED)
    stored = sum(line.raw_rows for line in report.partitions)
    quarantined = sum(line.quarantine_rows for line in report.partitions)
    stdout.print(
        f"balanced: {stored:,} stored, {quarantined:,} quarantined, nothing lost or doubled"
    )
