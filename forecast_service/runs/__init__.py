"""Retraining and refreshing through Dagster, and the jobs to follow."""
