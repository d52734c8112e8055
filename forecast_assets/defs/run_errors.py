"""The cause of a failed run, in a few lines that a message can carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from forecast_assets.redaction import redact

if TYPE_CHECKING:
    from dagster._utils.error import SerializableErrorInfo

#: Lines of an error, and letters of each, that a message carries.
LINES = 3
LETTERS = 300

#: Failed steps and stores that a message names.
LISTED = 5

#: Dagster's wrappers around what a step raised.
_WRAPPERS = ("DagsterExecutionStepExecutionError", "RetryRequested")


def describe_failure(
    instance: dg.DagsterInstance, event: dg.EventLogEntry, stores: Mapping[int, str]
) -> str:
    """Describe a failed run: what ran, on which partitions, and why it failed.

    Args:
        instance: Dagster's instance.
        event: The run's failure.
        stores: The stores that failed in it, with the reasons.
    """
    run = instance.get_run_by_id(event.run_id)
    tags = run.tags if run is not None else {}
    causes = list(_causes(instance, event))
    causes += [f"store {store}: {_first_lines(reason)}" for store, reason in stores.items()][
        :LISTED
    ]
    partitions = _partitions(tags)
    return redact(
        f"{event.job_name} {event.run_id} has failed"
        + (f" ({partitions})" if partitions else "")
        + f": {'; '.join(causes) or 'no reason was recorded'}"
    )


def _partitions(tags: Mapping[str, str]) -> str:
    first, last = (
        tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    )  # fmt: skip
    if first and last:
        return f"partition {first}" if first == last else f"partitions {first} to {last}"
    return f"partition {tags[PARTITION_NAME_TAG]}" if PARTITION_NAME_TAG in tags else ""


def _causes(instance: dg.DagsterInstance, event: dg.EventLogEntry) -> Iterator[str]:
    """Yield the error of each failed step; without one, that of the run itself."""
    failures = instance.get_records_for_run(
        event.run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=LISTED
    ).records
    for record in failures:
        failed = record.event_log_entry.dagster_event
        if failed is not None:
            error = failed.step_failure_data.error
            reason = _reason(error) if error is not None else failed.message or "no reason"
            yield f"{failed.step_key}: {reason}"
    if failures or event.dagster_event is None:
        return
    error = event.dagster_event.job_failure_data.error
    yield _reason(error) if error is not None else _first_lines(event.dagster_event.message or "")


def _reason(error: SerializableErrorInfo) -> str:
    """Return the first lines of what user code raised, and of its first cause."""
    while error.cause is not None and (
        error.cls_name in _WRAPPERS or "Error occurred while executing op" in error.message
    ):
        error = error.cause
    first = error
    while first.cause is not None:
        first = first.cause
    reason = _first_lines(error.message)
    return reason if first is error else f"{reason}, caused by {_first_lines(first.message)}"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " / ".join(line[:LETTERS] for line in lines[:LINES]) or "no message"
