"""From Kafka's rows to typed sales rows with a verdict each, as Spark SQL expressions only.

Two ways lead to the same verdict. An event written exactly as this project's producer (or Python's
`json.dumps`) writes it is taken apart with string functions, and proven by writing it again from
its parts and comparing the bytes: about four times cheaper than a JSON parser. Everything else
goes through Spark's strict Variant parser. The tests hold both against a parser in plain Python.

`sales.stores` is not known here: the sink judges the store inside its transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - everyone's name for it

from streaming_job import events
from streaming_job.events import Reason

OPEN_CALENDAR_DAYS = 366
"""With no end of the calendar given, days up to this many ahead of today are inside."""

_DATE_SHAPE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_FIRST_DAY = "0001-01-01"
_INTEGER_SHAPE = "^-?[0-9]+$"
_NUMBER_TYPES = ("BIGINT", "DOUBLE", "FLOAT")

# The places where a JSON value may stand, so that text inside strings cannot change the verdict:
# replacing it there leaves a string a string.
_NAN_PLACE = r"(^|[\[:,])([ \t\r\n]*)(?:NaN|-?Infinity)(?=[ \t\r\n]*(?:[,}\]]|$))"


@dataclass(frozen=True)
class Calendar:
    """The days that events may carry, both ends inside; `end` None is open-ended."""

    start: date
    end: date | None


def parse(
    kafka: DataFrame,
    calendar: Calendar,
    known_stores: Collection[int] = (),
    *,
    use_fast_path: bool = True,
) -> DataFrame:
    """Types and judges events.

    Args:
        kafka: Columns key, value (binary), partition, offset, timestamp of Spark's Kafka source.
        calendar: The days that are inside.
        known_stores: Stores that need not be judged again: their good events go to the sink
            without their bytes. A hint only.
        use_fast_path: Off in tests that hold the two ways against each other.

    Returns:
        topic_partition int, kafka_offset long, event_time timestamp, the columns of
        `events.COLUMNS` (typed, null where unusable), reason and detail (null when good), key
        and value (null on good events of known stores).
    """
    frame = kafka.select(
        F.col("partition").alias("topic_partition"),
        F.col("offset").alias("kafka_offset"),
        F.col("timestamp").alias("event_time"),
        F.col("key"),
        F.col("value"),
        F.col("value").cast("string").alias("text"),
        (F.length("value") <= events.MAX_VALUE_BYTES).alias("fits"),
    )
    frame = _with_fast_parts(frame, use_fast_path)
    frame = _with_document(frame)
    frame = _with_fields(frame)
    frame = _with_verdict(frame, calendar)
    known = sorted(int(store) for store in known_stores)
    bytes_needed = F.col("reason").isNotNull()
    if known:
        bytes_needed |= ~F.col("store").isin(known)
    else:
        bytes_needed = F.lit(True)
    good = F.col("reason").isNull()
    return frame.select(
        "topic_partition",
        "kafka_offset",
        "event_time",
        *(F.when(good, F.col(column)).alias(column) for column in events.COLUMNS.values()),
        "reason",
        "detail",
        F.when(bytes_needed, F.col("key")).alias("key"),
        F.when(bytes_needed, F.col("value")).alias("value"),
    )


def _with_fast_parts(frame: DataFrame, use_fast_path: bool) -> DataFrame:
    """Adds fast_<column> and is_fast: taken apart by commas, proven by writing it again."""
    frame = frame.withColumn(
        "parts",
        F.when(F.col("fits") & F.lit(use_fast_path), F.split("text", ",")),
    )
    frame = frame.withColumn(
        "space", F.when(F.substring("text", 10, 1) == " ", F.lit(1)).otherwise(F.lit(0))
    )
    tokens = {}
    for index, field in enumerate(events.FIELDS):
        part = F.try_element_at("parts", F.lit(index + 1))
        # What stands before the token: `{"Store":`, `"Sales":`, and json.dumps's blanks.
        skipped = len(field) + 3 + (1 if index == 0 else 0)
        blanks = F.col("space") * F.lit(1 if index == 0 else 2)
        start = F.lit(skipped + 1) + blanks
        length = F.length(part) - F.lit(skipped) - blanks
        if index == len(events.FIELDS) - 1:
            length = length - F.lit(1)
        tokens[field] = F.substring(part, start, length)
    frame = frame.select(
        "*",
        *(
            tokens[field].try_cast("int").alias(f"fast_{events.COLUMNS[field]}")
            for field in events.INTEGER_FIELDS
        ),
        F.substring(tokens[events.DATE], F.lit(2), F.lit(10)).try_cast("date").alias("fast_date"),
        F.when(
            tokens[events.STATE_HOLIDAY].isin(["0", *(f'"{c}"' for c in events.HOLIDAY_CODES)]),
            tokens[events.STATE_HOLIDAY],
        ).alias("holiday_token"),
    )

    def written(colon: str, comma: str) -> Column:
        pieces: list[Column] = []
        for index, field in enumerate(events.FIELDS):
            column = f"fast_{events.COLUMNS[field]}"
            lead = "{" if index == 0 else comma
            if field == events.DATE:
                pieces += [F.lit(f'{lead}"{field}"{colon}"'), F.col(column), F.lit('"')]
            elif field == events.STATE_HOLIDAY:
                pieces += [F.lit(f'{lead}"{field}"{colon}'), F.col("holiday_token")]
            else:
                pieces += [F.lit(f'{lead}"{field}"{colon}'), F.col(column)]
        return F.concat(*(piece.cast("string") for piece in pieces), F.lit("}"))

    again = F.when(F.col("space") == 1, written(": ", ", ")).otherwise(written(":", ","))
    # Spark knows a year 0; the calendar does not.
    proven = (again == F.col("text")) & (F.col("fast_date") >= F.lit(_FIRST_DAY).cast("date"))
    return frame.withColumn("is_fast", F.coalesce(proven, F.lit(False))).drop(
        "parts", "space"
    )


def _with_document(frame: DataFrame) -> DataFrame:
    """Adds state (a syntax reason or null), document (Variant, an array of one), raw tokens."""
    slow = F.col("fits") & ~F.col("is_fast")
    frame = frame.withColumn("utf8", F.when(slow, F.is_valid_utf8("text")))
    # The Variant parser stops after the first value and ignores what follows. Inside an array
    # only a `]` can follow unseen, inside an object only a `}` or another field: what passes
    # both has nothing after it.
    frame = frame.withColumn(
        "document",
        F.when(F.col("utf8"), F.try_parse_json(F.concat(F.lit("["), F.col("text"), F.lit("]")))),
    )
    frame = frame.withColumn("document", F.when(_alone("document", "text"), F.col("document")))
    without_nan = F.regexp_replace("text", _NAN_PLACE, "$1$2null")
    frame = frame.withColumn(
        "mended",
        F.when(F.col("utf8") & F.col("document").isNull(), without_nan),
    )
    frame = frame.withColumn(
        "mended_document",
        F.when(
            F.col("mended") != F.col("text"),
            F.try_parse_json(F.concat(F.lit("["), F.col("mended"), F.lit("]"))),
        ),
    )
    raw_schema = ", ".join(f"`{field}` string" for field in events.FIELDS)
    return frame.select(
        "*",
        F.when(F.col("document").isNotNull(), F.from_json("text", raw_schema)).alias("raw"),
        F.schema_of_variant(F.try_variant_get("document", "$[0]", "variant")).alias("root_type"),
        _alone("mended_document", "mended").alias("has_nan"),
    )


def _alone(document: str, text: str) -> Column:
    in_object = F.try_parse_json(F.concat(F.lit('{"v":'), F.col(text), F.lit("}")))
    return F.coalesce(
        F.col(document).isNotNull()
        & F.try_variant_get(document, "$[0]", "variant").isNotNull()
        & F.try_variant_get(document, "$[1]", "variant").isNull()
        & in_object.isNotNull(),
        F.lit(False),
    )


def _with_fields(frame: DataFrame) -> DataFrame:
    """Adds type_<column> of the slow way and the typed columns of whichever way applies."""
    frame = frame.select(
        "*",
        *(
            F.schema_of_variant(F.try_variant_get("document", f"$[0].{field}", "variant")).alias(
                f"type_{column}"
            )
            for field, column in events.COLUMNS.items()
        ),
    )
    fast = F.col("is_fast")
    typed: dict[str, Column] = {}
    for field in events.INTEGER_FIELDS:
        column = events.COLUMNS[field]
        typed[column] = F.when(fast, F.col(f"fast_{column}")).otherwise(
            F.when(_is_integer(field), F.col(f"raw.{field}").try_cast("int"))
        )
    date_text = F.col(f"raw.{events.DATE}")
    typed["date"] = F.when(fast, F.col("fast_date")).otherwise(
        F.when(
            (F.col("type_date") == "STRING")
            & date_text.rlike(_DATE_SHAPE)
            & (date_text >= F.lit(_FIRST_DAY)),
            date_text.try_cast("date"),
        )
    )
    holiday = F.col(f"raw.{events.STATE_HOLIDAY}")
    typed["state_holiday"] = F.when(fast, F.regexp_replace("holiday_token", '"', "")).otherwise(
        F.when((F.col("type_state_holiday") == "STRING"), holiday).when(
            _is_integer(events.STATE_HOLIDAY) & (holiday.try_cast("int") == 0), F.lit("0")
        )
    )
    return frame.select("*", *(expression.alias(name) for name, expression in typed.items()))


def _is_number(field: str) -> Column:
    kind = F.col(f"type_{events.COLUMNS[field]}")
    return kind.isin(list(_NUMBER_TYPES)) | kind.startswith("DECIMAL")


def _is_integer(field: str) -> Column:
    return _is_number(field) & F.col(f"raw.{field}").rlike(_INTEGER_SHAPE)


def _with_verdict(frame: DataFrame, calendar: Calendar) -> DataFrame:
    """Adds reason and detail."""
    slow = ~F.col("is_fast")
    kind = {field: F.col(f"type_{column}") for field, column in events.COLUMNS.items()}
    absent = {field: kind[field].isNull() for field in events.FIELDS}
    plan = absent[events.SALES] & absent[events.CUSTOMERS]

    def first_of(tests: dict[str, Column]) -> Column:
        return F.coalesce(*(F.when(test, F.lit(field)) for field, test in tests.items()))

    null_field = first_of({field: kind[field] == "VOID" for field in events.FIELDS})
    missing = first_of(
        {
            field: absent[field] & (~plan if field in events.OPTIONAL_ON_PLAN else F.lit(True))
            for field in events.FIELDS
        }
    )
    wrong_type = first_of(
        {
            field: ~absent[field]
            & (
                (kind[field] != "STRING")
                if field == events.DATE
                else (kind[field] != "STRING") & ~_is_integer(field)
                if field == events.STATE_HOLIDAY
                else ~_is_integer(field)
            )
            for field in events.FIELDS
        }
    )

    def given(field: str) -> Column:
        return F.col("is_fast") | ~absent[field]

    def outside(field: str) -> Column:
        value = F.col(events.COLUMNS[field])
        if field in events.FLAGS:
            return value.isNull() | ~value.between(0, 1)
        if field == events.DAY_OF_WEEK:
            return value.isNull() | ~value.between(1, 7)
        return value.isNull()

    out_of_range = first_of(
        {field: given(field) & outside(field) for field in events.INTEGER_FIELDS}
    )
    negative = first_of(
        {field: F.col(events.COLUMNS[field]) < 0 for field in (events.SALES, events.CUSTOMERS)}
    )
    last_day = (
        F.lit(calendar.end)
        if calendar.end is not None
        else F.date_add(F.current_date(), OPEN_CALENDAR_DAYS)
    )
    weekday = F.weekday("date") + F.lit(1)
    raw_date = F.col(f"raw.{events.DATE}")
    raw_holiday = F.col(f"raw.{events.STATE_HOLIDAY}")
    nothing = F.lit(None).cast("string")
    # One chain for the reason and one for the detail, made from the same list.
    chain: list[tuple[Column, Reason, Column]] = [
        (F.col("value").isNull(), Reason.NULL_VALUE, F.lit("no value")),
        (
            ~F.col("fits"),
            Reason.OVERSIZED,
            F.concat(F.length("value").cast("string"), F.lit(" bytes")),
        ),
        (slow & ~F.col("utf8"), Reason.NOT_UTF8, nothing),
        (slow & F.col("has_nan"), Reason.NAN, nothing),
        (slow & F.col("document").isNull(), Reason.NOT_JSON, nothing),
        (
            slow & ~F.col("root_type").startswith("OBJECT"),
            Reason.NOT_OBJECT,
            F.lower(F.regexp_extract("root_type", "^[A-Z]+", 0)),
        ),
        (slow & null_field.isNotNull(), Reason.NULL_VALUE, null_field),
        (slow & missing.isNotNull(), Reason.MISSING_FIELD, missing),
        (slow & wrong_type.isNotNull(), Reason.WRONG_TYPE, wrong_type),
        (out_of_range.isNotNull(), Reason.OUT_OF_RANGE, out_of_range),
        (negative.isNotNull(), Reason.NEGATIVE_SALES, negative),
        (F.col("date").isNull(), Reason.IMPOSSIBLE_DATE, F.substring(raw_date, 1, 40)),
        (
            ~F.col("date").between(F.lit(calendar.start), last_day),
            Reason.OUTSIDE_CALENDAR,
            F.col("date").cast("string"),
        ),
        (
            F.col("day_of_week") != weekday,
            Reason.WEEKDAY_MISMATCH,
            F.concat(
                F.lit("DayOfWeek "),
                F.col("day_of_week").cast("string"),
                F.lit(", Date is a "),
                weekday.cast("string"),
            ),
        ),
        (
            ~F.col("state_holiday").isin(list(events.HOLIDAY_CODES))
            | F.col("state_holiday").isNull(),
            Reason.UNKNOWN_HOLIDAY,
            F.substring(raw_holiday, 1, 40),
        ),
        (
            (F.col("open") == 0) & (F.col("sales") > 0),
            Reason.SALES_WHILE_CLOSED,
            F.concat(F.lit("Sales "), F.col("sales").cast("string")),
        ),
    ]
    reason, detail = F.lit(None).cast("string"), F.lit(None).cast("string")
    for test, code, text in reversed(chain):
        reason = F.when(test, F.lit(code.value)).otherwise(reason)
        detail = F.when(test, text).otherwise(detail)
    # PostgreSQL's text takes no NUL, and nobody's terminal should take control characters.
    printable = F.regexp_replace(detail.cast("string"), "[^ -~]", "?")
    return frame.withColumn("reason", reason).withColumn("detail", printable)
