"""Stores, forecasts, history and what changed: what planners read."""
