"""The Rossmann data set's formats: reading Kaggle's files, and making up sales like theirs.

Contains no database and no forecasting: `forecast_assets` loads what is read here, and the library
is in `forecasting`.
"""
