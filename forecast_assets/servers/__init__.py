"""Dagster's UI and MLflow's tracking server, each behind the gate of `gate.py`.

The embedded stack and the containers start the same two modules instead of `dagster-webserver` and
`mlflow server`, which let in anybody who reaches their port.
"""
