"""What the assets do between reading their scope and reporting: steps without Dagster.

Each module belongs to one asset. It composes `warehouse` and `forecasting`, which know neither
scopes nor settings.
"""
