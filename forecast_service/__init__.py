"""The HTTP API over the sales database: forecasts, what-ifs, planners' adjustments, and runs.

One folder per feature, each with `endpoints.py`, `schemas.py` and `service.py`. Statements live in
`warehouse`, the computation in `forecasting`.
"""
