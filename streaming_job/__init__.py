"""The Spark stream from Kafka to PostgreSQL: producer, source, validation, sink, audit, requeue.

It meets the asset graph only in the tables of the schema `sales`; nothing here imports the asset
graph. `docs/streaming.md` explains the guarantees and the grammar of an event.
"""
