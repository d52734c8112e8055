"""Models: a linear model per store, the pooled model with its trees, and the seasonal naive.

Callers compose them through `forecasting/pipeline.py`.
"""
