"""Kills things while the stream works, and holds the tables against what Kafka holds.

`python -m tests.faults --rounds N --seed S` is the long run; `test_faults.py` a short selection.
"""
