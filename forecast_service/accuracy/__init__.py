"""How good forecasts were, beside the seasonal naive and planners' adjustments."""
