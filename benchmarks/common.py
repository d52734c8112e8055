"""What the benchmarks share: where their stacks live, how they talk, a run over a range."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack import paths


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder beside the other stacks, gone with the block."""
    paths.STACKS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=paths.STACKS) as folder:
        yield Path(folder)


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of a run over a range of partitions.

    Args:
        first: The first partition's key.
        last: The last one's.
    """
    from dagster._core.storage.tags import (
        ASSET_PARTITION_RANGE_END_TAG,
        ASSET_PARTITION_RANGE_START_TAG,
    )

    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)
