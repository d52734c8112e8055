"""Forecasting as pure functions of frames: cleaning, features, models, intervals, scoring.

Nothing in this package knows of Dagster, SQL, settings or files. Every function takes frames
and gives frames back, so the same code runs in an asset, on a Spark executor, in a test and in
the evaluation command.
"""
