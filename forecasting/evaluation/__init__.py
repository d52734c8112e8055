"""Evaluation: accuracy of issued forecasts, and comparison of champion and challenger.

The error measures live in `forecasting/scoring.py`.
"""
