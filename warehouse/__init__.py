"""The sales database: migrations, queries by partition, and forecasts from the stored models.

Each module holds the statements on one group of tables. `forecaster.py` joins the statements with
the library. Fitting and forecasting themselves live in `forecasting`, and nothing here knows
Dagster. The stream's own statements live in `streaming_job`.
"""
