"""Where a forecast came from."""
