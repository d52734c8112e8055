"""Forecasting as pure functions of frames: cleaning, features, models, intervals, scoring.

`pipeline.py` composes them; start there. Nothing here knows Dagster, SQL, settings or files, so
the same code runs in an asset, on a Spark executor, in a test and in the evaluation command.
Queries live in `warehouse`, the data set's file formats in `rossmann`.
"""
