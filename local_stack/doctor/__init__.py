"""`make doctor`: what is wrong with an embedded stack, in words, and what to do about it.

`findings.py` is what an examination returns. `machine.py`, `services.py`, `databases.py`,
`sales.py` and `graph.py` look at one part each; `examination.py` asks them all and shows the
answer. The rules about sales, forecasts and Dagster are those of checks, alerts and `make status`.
"""
