"""The commands of `python -m forecast_assets`, one module each."""
