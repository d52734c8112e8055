"""The codes and columns that other packages must agree with."""

from forecasting.features.daily import STATE_HOLIDAY_CODES
from rossmann import fields
from streaming_job import transform


def test_features_number_the_holiday_codes_in_their_order() -> None:
    assert list(STATE_HOLIDAY_CODES.items()) == [
        (code, number) for number, code in enumerate(fields.STATE_HOLIDAY_CODES)
    ]


def test_the_streams_columns_are_the_fields_columns() -> None:
    assert list(transform.COLUMN_TYPES) == list(fields.COLUMNS.values())
