"""The run launcher and the storage that `dagster.yaml` configures."""
