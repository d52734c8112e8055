"""Features of days and plans, and the arrays that models are fitted on.

Inputs that summarize sales up to an origin live in `models/at_origin.py`.
"""
