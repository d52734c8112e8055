"""The sales database: migrations, queries by partition, and forecasts from the stored models.

One module per group of tables holds its statements; `forecaster.py` joins them with the library.
Fitting and forecasting themselves live in `forecasting`, and nothing here knows Dagster. The
stream's own statements live in `streaming_job`.
"""
