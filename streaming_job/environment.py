"""Variables of the shell that libraries underneath would read, and that are no settings here.

The settings themselves are in `settings`. What the services of the embedded stack inherit is
decided by an allow list in `local_stack/environment.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, MutableMapping

from streaming_job.settings import StreamSettings

#: libpq, Spark's scripts and Python side, Hadoop's client, every JVM, and Spark's Python workers.
_READ_BY_LIBRARIES = re.compile(
    r"PG[A-Z]+|SPARK_\w+|PYSPARK_\w+|HADOOP_\w+|YARN_\w+|KRB5_\w+"
    r"|JAVA_(?!HOME$)\w+|JDK_\w+|_JAVA_OPTIONS|CLASSPATH|PYTHON[A-Z]+"
)
#: Output that does not wait in a buffer changes no result, and services ask for it.
_HARMLESS = frozenset({"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"})


def settings_variables() -> frozenset[str]:
    """Return the names of the variables that the stream's settings read."""
    return frozenset(name.upper() for name in StreamSettings.model_fields)


def foreign_variables(names: Iterable[str]) -> list[str]:
    """Return the variables that a library would read and that are no settings of the stream."""
    ours = settings_variables() | _HARMLESS
    return [name for name in names if name not in ours and _READ_BY_LIBRARIES.fullmatch(name)]


def forget_foreign_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove them from this process and so from those that it starts."""
    for name in foreign_variables(list(environment)):
        del environment[name]
