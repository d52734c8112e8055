"""Metrics of the whole system for Prometheus, read from both databases at each scrape.

No rule is decided here: whether something is wrong comes from `forecast_assets/planning/health.py`,
how good forecasts were from `forecasting/evaluation/accuracy.py`. The HTTP server is
`forecast_assets/servers/exporter.py`; alerts and dashboards are in `deploy/monitoring`.
"""
