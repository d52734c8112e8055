"""The Dagster asset graph: from delivered sales events to forecasts, by date and store."""
