"""The embedded default: PostgreSQL, Kafka, Spark's stream, Dagster and MLflow as local processes.

One module a concept. What runs in production elsewhere (a managed database, a real broker) needs
nothing from here: this package only starts things and hands out their addresses.
"""
