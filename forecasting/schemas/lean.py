"""Import of pandera without PySpark, which would make the import a second longer.

Import `pa` from here; the schemas live in `frames.py`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Hide modules that are not loaded yet; pandera treats them as not installed."""
    blocked = [name for name in names if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


with _hidden("pyspark.sql", "pyspark.pandas"):
    import pandera.pandas as pa

__all__ = ["pa"]
