"""Evaluation: error measures, accuracy of issued forecasts, champion against challenger."""
