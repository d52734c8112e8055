"""From Kafka's rows to typed sales rows with a verdict each, as Spark SQL expressions only.

Two ways lead to the same verdict. An event written exactly as this project's producer (or Python's
`json.dumps`) writes it is recognised by one regular expression, which proves its syntax, and taken
apart at its commas: a fraction of a JSON parser's work. Everything else goes through Spark's
strict Variant parser, inside a lambda, so that its code does not slow the common way down: the JVM
never compiles a method as large as both together. The tests hold both ways against a parser in
plain Python.

`sales.stores` is not known here: the sink judges the store inside its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - everyone's name for it

from streaming_job import events
from streaming_job.events import Reason

OPEN_CALENDAR_DAYS = 366
"""With no end of the calendar given, days up to this many ahead of today are inside."""

_DATE_SHAPE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_INTEGER_SHAPE = "^-?[0-9]+$"
_FIRST_DAY = "0001-01-01"
_INTEGER = "INTEGER"
_TAB = "\t"
_SHOWN_CHARACTERS = 40

# The places where a JSON value may stand, so that text inside strings cannot change the verdict:
# replacing it there leaves a string a string.
_NAN_PLACE = r"(^|[\[:,])([ \t\r\n]*)(?:NaN|-?Infinity)(?=[ \t\r\n]*(?:[,}\]]|$))"

_FAST_TOKENS = {
    events.STORE: "[1-9][0-9]{0,8}+",
    events.DAY_OF_WEEK: "[1-7]",
    events.DATE: '"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"',
    events.SALES: "(?:0|[1-9][0-9]{0,8}+)",
    events.CUSTOMERS: "(?:0|[1-9][0-9]{0,8}+)",
    events.OPEN: "[01]",
    events.PROMO: "[01]",
    events.STATE_HOLIDAY: '(?:"[0abc]"|0)',
    events.SCHOOL_HOLIDAY: "[01]",
}
_FAST_SHAPE = (
    r"^\{" + ", ?".join(f'"{field}": ?{_FAST_TOKENS[field]}' for field in events.FIELDS) + r"\}\z"
)
"""Events of this shape are syntactically right and in range; only their meaning is to be judged."""


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
    where = {"topic_partition": "partition", "kafka_offset": "offset", "event_time": "timestamp"}
    frame = kafka.select(
        *(F.col(given).alias(name) for name, given in where.items()),
        "key",
        "value",
        F.when(F.length("value") <= events.MAX_VALUE_BYTES, F.col("value").cast("string")).alias(
            "text"
        ),
    )
    recognised = F.coalesce(F.col("text").rlike(_FAST_SHAPE), F.lit(False))
    frame = frame.select(
        "*",
        (recognised & F.lit(use_fast_path)).alias("is_fast"),
        F.split("text", ",").alias("parts"),
    )
    fast = _taken_apart()
    slow = F.when(~F.col("is_fast"), _parsed(F.col("value"), F.col("text"))).alias("slow")
    columns = [*where, "key", "value", "is_fast"]
    frame = frame.select(
        *columns, *(column.alias(f"fast_{name}") for name, column in fast.items()), slow
    )
    frame = frame.select(
        *columns,
        *(
            F.when(F.col("is_fast"), F.col(f"fast_{name}"))
            .otherwise(F.col(f"slow.{name}"))
            .alias(name)
            for name in events.COLUMNS.values()
        ),
        F.col("slow.verdict").alias("syntax"),
    )
    frame = frame.select(
        *columns,
        *events.COLUMNS.values(),
        F.coalesce("syntax", _meaning(calendar)).alias("verdict"),
    )
    good = F.col("verdict").isNull()
    known = sorted(int(store) for store in known_stores)
    # As text: a thousand literals take Spark's Python side a second to hand over one by one.
    is_known = F.expr(f"store IN ({', '.join(map(str, known))})") if known else F.lit(False)
    bytes_needed = ~(good & is_known)
    reason = F.substring_index("verdict", _TAB, 1)
    # PostgreSQL's text takes no NUL, and nobody's terminal should take control characters.
    detail = F.regexp_replace(F.regexp_replace("verdict", f"^[^{_TAB}]*{_TAB}", ""), "[^ -~]", "?")
    return frame.select(
        *where,
        *(F.when(good, F.col(name)).alias(name) for name in events.COLUMNS.values()),
        reason.alias("reason"),
        F.nullif(detail, F.lit("")).alias("detail"),
        F.when(bytes_needed, F.col("key")).alias("key"),
        F.when(bytes_needed, F.col("value")).alias("value"),
    )


def _taken_apart() -> dict[str, Column]:
    """The typed columns of an event of `_FAST_SHAPE`, by its parts between commas."""
    parts = dict(zip(events.FIELDS, (F.get("parts", F.lit(i)) for i in range(9)), strict=True))

    def integer(field: str) -> Column:
        # Behind `"Sales":`; the cast takes a blank in front.
        lead = len(field) + (4 if field == events.STORE else 3)
        return F.ltrim(parts[field]).substr(F.lit(lead + 1), F.lit(11)).try_cast("int")

    def digit(field: str, from_end: int) -> Column:
        return F.substring(parts[field], -from_end, 1).try_cast("int")

    holiday = parts[events.STATE_HOLIDAY]
    return {
        "store": integer(events.STORE),
        "day_of_week": digit(events.DAY_OF_WEEK, 1),
        "date": F.substring(parts[events.DATE], -11, 10).try_cast("date"),
        "sales": integer(events.SALES),
        "customers": integer(events.CUSTOMERS),
        "open": digit(events.OPEN, 1),
        "promo": digit(events.PROMO, 1),
        "state_holiday": F.when(
            F.substring(holiday, -1, 1) == '"', F.substring(holiday, -2, 1)
        ).otherwise(F.lit("0")),
        "school_holiday": digit(events.SCHOOL_HOLIDAY, 2),
    }


def _let(value: Column, body: Callable[[Column], Column]) -> Column:
    """`body` of a value that is computed once, however often `body` names it."""
    return F.get(F.transform(F.array(value), body), F.lit(0))


def _parsed(value: Column, text: Column) -> Column:
    """The slow way: a struct of the typed columns and the verdict on the syntax.

    Spark plans every batch anew, and this costs it time by the node: so whatever is named more
    than once is bound by `_let`.
    """

    def of_text(text: Column) -> Column:
        return _let(_document(text), lambda document: of_document(text, document))

    def of_document(text: Column, document: Column) -> Column:
        schema = ", ".join(f"`{field}` string" for field in events.FIELDS)
        raw = F.when(document.isNotNull(), F.from_json(text, schema))
        return _let(raw, lambda raw: of_raw(text, document, raw))

    def of_raw(text: Column, document: Column, raw: Column) -> Column:
        kinds = F.array(*(_kind_of(document, raw, field) for field in events.FIELDS))
        return _let(kinds, lambda kinds: of_kinds(text, document, raw, kinds))

    def of_kinds(text: Column, document: Column, raw: Column, kinds: Column) -> Column:
        typed = _typed(kinds, raw)
        row = F.struct(*(column.alias(name) for name, column in typed.items()))
        return _let(row, lambda row: judged(text, document, raw, kinds, row))

    def judged(text: Column, document: Column, raw: Column, kinds: Column, row: Column) -> Column:
        root = F.schema_of_variant(F.try_variant_get(document, "$[0]", "variant"))
        verdict = F.coalesce(
            _fault(value.isNull(), Reason.NULL_VALUE, F.lit("no value")),
            _fault(
                text.isNull(),
                Reason.OVERSIZED,
                F.concat(F.length(value).cast("string"), F.lit(" bytes")),
            ),
            _fault(~F.is_valid_utf8(text), Reason.NOT_UTF8),
            F.when(
                document.isNull(),
                F.coalesce(_fault(_has_nan(text), Reason.NAN), F.lit(f"{Reason.NOT_JSON}{_TAB}")),
            ),
            _fault(~root.startswith("OBJECT"), Reason.NOT_OBJECT),
            *_faults(kinds, raw, row),
        )
        return F.struct(
            *(row[name].alias(name) for name in events.COLUMNS.values()), verdict.alias("verdict")
        )

    return _let(text, of_text)


def _document(text: Column) -> Column:
    """The Variant of `[text]` if text is exactly one JSON value, else null."""
    # The Variant parser stops after the first value and ignores what follows. Inside an array
    # only a `]` can follow unseen, inside an object only a `}` or another field: what passes
    # both has nothing after it.
    in_object = F.try_parse_json(F.concat(F.lit('{"v":'), text, F.lit("}")))

    def alone(document: Column) -> Column:
        return F.when(
            F.try_variant_get(document, "$[0]", "variant").isNotNull()
            & F.try_variant_get(document, "$[1]", "variant").isNull()
            & in_object.isNotNull(),
            document,
        )

    in_array = F.try_parse_json(F.concat(F.lit("["), text, F.lit("]")))
    return F.when(F.is_valid_utf8(text), _let(in_array, alone))


def _has_nan(text: Column) -> Column:
    """Whether the text would be JSON but for NaN or Infinity."""
    mended = F.regexp_replace(text, _NAN_PLACE, "$1$2null")
    return (mended != text) & _document(mended).isNotNull()


def _kind_of(document: Column, raw: Column, field: str) -> Column:
    """STRING, INTEGER (a number written as one), VOID for null, another type; null if absent."""
    kind = F.schema_of_variant(F.try_variant_get(document, f"$[0].{field}", "variant"))
    if field == events.DATE:
        return kind
    return F.when(
        (kind != "STRING") & (kind != "BOOLEAN") & raw[field].rlike(_INTEGER_SHAPE),
        F.lit(_INTEGER),
    ).otherwise(kind)


def _kind(kinds: Column, field: str) -> Column:
    return F.get(kinds, F.lit(events.FIELDS.index(field)))


def _typed(kinds: Column, raw: Column) -> dict[str, Column]:
    """The typed columns of a parsed event, null where a field is absent or unusable."""
    typed = {
        events.COLUMNS[field]: F.when(_kind(kinds, field) == _INTEGER, raw[field].try_cast("int"))
        for field in events.INTEGER_FIELDS
    }
    day = raw[events.DATE]
    # Spark knows a year 0; the calendar does not.
    typed["date"] = F.when(
        day.rlike(_DATE_SHAPE) & (day >= F.lit(_FIRST_DAY)), day.try_cast("date")
    )
    holiday = raw[events.STATE_HOLIDAY]
    # A number's text is its value's, so -0 is "0" here too.
    typed["state_holiday"] = holiday
    return {name: typed[name] for name in events.COLUMNS.values()}


def _first_of(tests: dict[str, Column]) -> Column:
    """The name of the first field whose test holds, or null."""
    return F.coalesce(*(F.when(test, F.lit(field)) for field, test in tests.items()))


def _faults(kinds: Column, raw: Column, row: Column) -> list[Column]:
    """The verdicts on a JSON object's fields: there, of the right type, in range."""
    kind = {field: _kind(kinds, field) for field in events.FIELDS}
    is_plan = kind[events.SALES].isNull() & kind[events.CUSTOMERS].isNull()
    always = [field for field in events.FIELDS if field not in events.OPTIONAL_ON_PLAN]
    allowed = {
        field: ["STRING"]
        if field == events.DATE
        else ["STRING", _INTEGER]
        if field == events.STATE_HOLIDAY
        else [_INTEGER]
        for field in events.FIELDS
    }

    def is_outside(field: str) -> Column:
        value = row[events.COLUMNS[field]]
        if field in events.FLAGS:
            low, high = 0, 1
        elif field == events.DAY_OF_WEEK:
            low, high = 1, 7
        else:
            low, high = events.MIN_INTEGER, events.MAX_INTEGER
        inside = F.coalesce(value.between(low, high), F.lit(False))
        return kind[field].isNotNull() & ~inside

    def named(reason: Reason, tests: dict[str, Column]) -> Column:
        # concat is null when no test holds.
        return F.concat(F.lit(f"{reason}{_TAB}"), _first_of(tests))

    return [
        named(Reason.NULL_VALUE, {field: kind[field] == "VOID" for field in events.FIELDS}),
        named(Reason.MISSING_FIELD, {field: kind[field].isNull() for field in always}),
        F.when(
            ~is_plan,
            named(
                Reason.MISSING_FIELD,
                {field: kind[field].isNull() for field in events.OPTIONAL_ON_PLAN},
            ),
        ),
        named(
            Reason.WRONG_TYPE,
            {field: ~kind[field].isin(allowed[field]) for field in events.FIELDS},
        ),
        named(Reason.OUT_OF_RANGE, {field: is_outside(field) for field in events.INTEGER_FIELDS}),
        named(
            Reason.NEGATIVE_SALES,
            {field: row[events.COLUMNS[field]] < 0 for field in events.PLAN_OMITS},
        ),
        _fault(
            row["date"].isNull(),
            Reason.IMPOSSIBLE_DATE,
            F.substring(raw[events.DATE], 1, _SHOWN_CHARACTERS),
        ),
    ]


def _meaning(calendar: Calendar) -> Column:
    """The verdict on an event whose syntax is right, from its typed columns."""
    day = F.col("date")
    last_day = (
        F.lit(calendar.end)
        if calendar.end is not None
        else F.date_add(F.current_date(), OPEN_CALENDAR_DAYS)
    )
    weekday = F.weekday(day) + F.lit(1)
    holiday = F.col("state_holiday")
    return F.coalesce(
        _fault(day.isNull(), Reason.IMPOSSIBLE_DATE, F.lit("no such day")),
        _fault(
            ~day.between(F.lit(calendar.start), last_day),
            Reason.OUTSIDE_CALENDAR,
            day.cast("string"),
        ),
        _fault(
            F.col("day_of_week") != weekday,
            Reason.WEEKDAY_MISMATCH,
            F.concat(F.lit("Date is a day "), weekday.cast("string")),
        ),
        _fault(
            ~holiday.isin(list(events.HOLIDAY_CODES)),
            Reason.UNKNOWN_HOLIDAY,
            F.substring(holiday, 1, _SHOWN_CHARACTERS),
        ),
        _fault(
            (F.col("open") == 0) & (F.col("sales") > 0),
            Reason.SALES_WHILE_CLOSED,
            F.concat(F.lit("Sales "), F.col("sales").cast("string")),
        ),
    )


def _fault(test: Column, reason: Reason, detail: Column | None = None) -> Column:
    """A verdict if the test holds, else null: the reason, a tab, and the detail if any."""
    lead = F.lit(f"{reason}{_TAB}")
    return F.when(test, lead if detail is None else F.concat(lead, detail))
