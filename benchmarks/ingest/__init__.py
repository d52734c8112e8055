"""Kafka to PostgreSQL: this stream beside its ceiling and its peers.

`python -m benchmarks.ingest --events 1000000` sends the same events once. Then every way takes
them into fresh tables of the same schema, each in a process of its own. `warm` is the rate after
the first fifth; `cold` is the time from the start of the way's query or loop to the end of its
first fifth. The last line is one JSON object.

Contents:
    compare: the stack, the comparison of all ways, the latency, the table and the JSON object.
    ways: the ways by name, and the process of one of them.
    workload: the events, and the steps in which a way takes them.
    spark, consumers, processes, flink: the ways themselves.
    jars: the peers' jars.
"""
