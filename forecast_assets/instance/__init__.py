"""What `dagster.yaml` names: the run launcher and the storage."""
