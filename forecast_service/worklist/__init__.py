"""The stores that need a person today, and why."""
