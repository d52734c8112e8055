"""Where a stack's ledger stands in its broker's topic."""

from local_stack import environment
from local_stack.stack import TOPIC, Stack
from streaming_job import continuity
from streaming_job.settings import load_settings

#: What to do about a topic that the ledger does not know.
NEW_TOPIC_HINT = (
    "if the events are gone for good: `make up NEW_TOPIC=1`, and have what is missing sent again"
)


def compare_with_broker(stack: Stack) -> continuity.Continuity:
    """Compare a stack's ledger with its broker; both must run.

    Raises:
        StreamError: One of them does not answer, or there is no topic.
    """
    # The broker's clients read its password from the environment.
    with environment.applied(stack.kafka.access.environment()):
        return continuity.compare(
            load_settings(
                stream_database_url=stack.postgres.url("sales_stream", "sales"),
                kafka_bootstrap_servers=stack.kafka.bootstrap_servers,
                sales_topic=TOPIC,
            )
        )
