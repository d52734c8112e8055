"""Only Dagster: assets, checks, partitions, sensors, schedules, jobs and resources."""
