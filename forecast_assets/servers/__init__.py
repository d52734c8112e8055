"""Dagster's UI, MLflow's tracking server and the exporter, each behind the gate of `gate.py`.

The embedded stack and the containers start the same modules instead of `dagster-webserver` and
`mlflow server`, which let in anybody who reaches their port.
"""
