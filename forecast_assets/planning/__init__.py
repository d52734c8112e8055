"""Pure functions and values: the calendar, partition cells, scopes and sensor decisions."""
