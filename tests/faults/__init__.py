"""Faults injected into a working stream, and the comparison of its tables with Kafka's events.

`python -m tests.faults --rounds N --seed S` is the long run; `test_faults.py` is a short selection.
"""
