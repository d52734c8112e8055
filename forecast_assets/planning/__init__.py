"""Decisions as pure functions: the calendar, partition cells, what a sensor requests."""
