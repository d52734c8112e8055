"""Dagster definitions: assets, checks, partitions, sensors, schedules, jobs and resources."""
