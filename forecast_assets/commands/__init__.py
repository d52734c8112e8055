"""The commands of `python -m forecast_assets`, one module per command; `load` is in `main.py`."""
