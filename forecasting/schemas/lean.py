"""pandera without Spark: it would import PySpark because it is installed, for a second more.

Nothing here but that import; the schemas take `pa` from here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Makes modules that are not loaded yet seem absent, as pandera allows them to be."""
    blocked = [name for name in names if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # import then fails as if not there
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


with _hidden("pyspark.sql", "pyspark.pandas"):
    import pandera.pandas as pa

__all__ = ["pa"]
