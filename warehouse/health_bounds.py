"""Bounds that Dagster's checks and the service share, so that both judge alike.

The rules are in `forecast_assets/planning/health.py`, `forecast_assets/steps/totals.py` and
`forecast_service`.
Nothing is imported here, since every run pays for its imports.
"""

#: A day has come when this share of the usual number of stores has.
COMPLETE_SHARE = 0.5

#: How many days long a day that has not come is missed although later ones have.
MISSED_DAYS = 7

#: Distinct last days that a kind of total needs before its intervals are judged, by grain. Totals
#: of one day err together, so few days tell little however many stores there are.
MIN_TOTAL_DAYS = {"day": 14, "week": 4}

#: Share of the chain's and groups' totals that the 80 % interval may hold. Chain totals of a month
#: are some twenty correlated trials, so only gross faults are told.
USUAL_TOTALS_80 = (0.55, 0.97)
