"""Schemas of the frames that assets exchange, and descriptions of the tables' columns."""
