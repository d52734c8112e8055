"""The Spark stream from Kafka to PostgreSQL: producer, source, parsing, sink, audit, requeue.

It meets the asset graph only in the tables of the schema `sales`; nothing here imports it.
"""
