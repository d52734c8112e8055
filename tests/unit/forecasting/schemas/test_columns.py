"""Tests of the columns: the UI, the frames and the lineage agree."""

import pytest
from pandera.pandas import DataFrameSchema

from forecasting.schemas.columns import ASSET_TABLES, FRAMES, LINEAGE, TABLES
from forecasting.schemas.frames import DAYS, FEATURES, FORECASTS, STORE_MODELS, descriptions


@pytest.mark.parametrize(
    ("frame", "schema", "table"),
    [
        ("days", DAYS, "cleaned_sales"),
        ("features", FEATURES, "features"),
        ("store_models", STORE_MODELS, "models"),
        ("forecasts", FORECASTS, "forecasts"),
    ],
)
def test_frames_and_tables_agree(frame: str, schema: DataFrameSchema, table: str) -> None:
    assert descriptions(schema) == FRAMES[frame]
    shown = {column.name: column.description for column in TABLES[table]}
    assert FRAMES[frame].items() <= shown.items()


def test_every_column_says_what_it_is() -> None:
    for table, columns in TABLES.items():
        for column in columns:
            assert len(column.description) > 10, (table, column.name)


def test_lineage_names_existing_columns() -> None:
    def columns(asset: str) -> set[str]:
        return {column.name for column in TABLES[ASSET_TABLES[asset]]}

    for asset, lineage in LINEAGE.items():
        assert set(lineage) <= columns(asset), asset
        for made_from in lineage.values():
            for source, column in made_from:
                assert column in columns(source), (asset, source, column)


@pytest.mark.parametrize(
    ("feature", "source"),
    [
        ("log_sales", "sales"),
        ("days_to_promo", "promo"),
        ("school_day", "school_holiday"),
        ("days_since_holiday", "state_holiday"),
        ("days_to_refurbishment", "open"),
        ("days_from_easter", "date"),
    ],
)
def test_a_features_lineage(feature: str, source: str) -> None:
    assert LINEAGE["features"][feature] == (("cleaned_sales", source),)
