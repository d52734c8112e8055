"""The options of the sink's tasks, and their conversion to and from Spark's string options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from streaming_job.sink.connection import session_url
from streaming_job.transform import Calendar


@dataclass(frozen=True)
class SinkOptions:
    """The sink's options, typed."""

    database_url: str
    bootstrap_servers: str
    topic: str
    topic_uuid: str
    stream_id: int
    calendar: Calendar
    lock_timeout_seconds: int
    idle_timeout_seconds: int

    def as_options(self) -> dict[str, str]:
        """Return Spark's options; "secret" in the first one's name makes Spark redact it."""
        return {
            "secretDatabaseUrl": self.database_url,
            "bootstrapServers": self.bootstrap_servers,
            "topic": self.topic,
            "topicUuid": self.topic_uuid,
            "streamId": str(self.stream_id),
            "calendarStart": str(self.calendar.start),
            "calendarEnd": str(self.calendar.end or ""),
            "lockTimeoutSeconds": str(self.lock_timeout_seconds),
            "idleTimeoutSeconds": str(self.idle_timeout_seconds),
        }

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> SinkOptions:
        """Return the options that `as_options` wrote."""
        end = options["calendarEnd"]
        return cls(
            database_url=options["secretDatabaseUrl"],
            bootstrap_servers=options["bootstrapServers"],
            topic=options["topic"],
            topic_uuid=options["topicUuid"],
            stream_id=int(options["streamId"]),
            calendar=Calendar(
                date.fromisoformat(options["calendarStart"]),
                date.fromisoformat(end) if end else None,
            ),
            lock_timeout_seconds=int(options["lockTimeoutSeconds"]),
            idle_timeout_seconds=int(options["idleTimeoutSeconds"]),
        )

    @property
    def session_url(self) -> str:
        """The database's address with the time-outs that evict a hung task."""
        return session_url(
            self.database_url,
            lock_timeout_seconds=self.lock_timeout_seconds,
            idle_timeout_seconds=self.idle_timeout_seconds,
        )
