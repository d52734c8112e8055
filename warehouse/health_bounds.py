"""Bounds that the health rules and the service's worklist share.

The rules are in `forecast_assets/planning/health.py` and `forecast_service/worklist/rules.py`.
Nothing is imported here, since every run pays for its imports.
"""

#: A day has come when this share of the usual number of stores has.
COMPLETE_SHARE = 0.5

#: How many days long a day that has not come is missed although later ones have.
MISSED_DAYS = 7
