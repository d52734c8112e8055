"""Ways from Kafka to PostgreSQL: this stream, its ceiling and its peers.

`python -m benchmarks.ingest --events 1000000` sends the events to one topic. Then each way copies
the topic into fresh tables of the same schema, in a process of its own. `warm` is the rate after
the first fifth of the events. `cold` is the time from the start of the way's query or loop to the
end of the first fifth. With `--master standalone`, only the stream runs, on a Spark cluster of
several executors beside one process. The last line is one JSON object.

Contents:
    compare: the stack, the comparison of all ways, the latency, the table and the JSON object.
    cluster: the stream on a standalone cluster, by executors and topic-partitions.
    ways: the ways by name, and the function that runs one of them.
    workload: the events, and the number of steps in which a way ingests them.
    spark, consumers, processes, flink: the ways themselves.
    jars: the peers' jars.
"""
