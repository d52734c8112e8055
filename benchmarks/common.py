"""Helpers of several benchmarks: a scratch folder, the tags of a run, and a line of output.

A running stack with a chain of stores is in `benchmarks.chain`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack import paths


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder beside the other stacks; remove it at the end of the block."""
    paths.STACKS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=paths.STACKS) as folder:
        yield Path(folder)


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the tags of a run over a range of partitions.

    Args:
        first: Key of the first partition.
        last: Key of the last partition.
    """
    from dagster._core.storage.tags import (
        ASSET_PARTITION_RANGE_END_TAG,
        ASSET_PARTITION_RANGE_START_TAG,
    )

    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def say(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)
