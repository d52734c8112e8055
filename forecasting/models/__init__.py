"""Models: the linear ones of each store, the pooled one, the trees, and the seasonal naive.

Callers compose them through `forecasting/pipeline.py`.
"""
