"""Planners' own numbers and comments beside the model's."""
