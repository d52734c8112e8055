"""What is wrong with a request, in a planner's words.

Programs get problem documents instead (`forecast_service/problems.py`). A page names a part of its
address by what people call it, and never a command that only whoever runs the system can use.
"""

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from forecast_service.problems import plain_message
from warehouse.errors import NotYetError

#: What a page says of what is not there yet.
NOT_YET = (
    "There is no forecast yet. The first ones come a few minutes after the first sales are loaded, "
    "once a model is trained. If they have not come within an hour, tell whoever runs the system."
)
#: What a page says instead of a message that tells commands.
_FOR_OPERATORS = "This cannot be shown now. Whoever runs the system can see why in its log."
#: Part of an address -> what people call it.
_NAMES = {
    "store": "The store’s number",
    "weeks": "The weeks of history",
    "lead": "The days ahead",
    "days": "The days to look back",
    "day": "The day",
    "grain": "The choice of weeks or days",
    "by": "The choice of groups",
    "reason": "The reason",
    "after": "The rank to go on from",
    "next": "The address to go back to",
}


def invalid_address(error: RequestValidationError) -> str:
    """Return what is wrong with an address, one sentence for each of its parts."""
    return " ".join(_sentence(entry) for entry in error.errors())


def missing(error: Exception) -> str:
    """Return what is not there, without commands."""
    if isinstance(error, NotYetError):
        return NOT_YET
    return without_commands(str(error))


def without_commands(text: str) -> str:
    """Return a sentence, or another one if it tells commands, which stand between backquotes."""
    if "`" in text:
        return _FOR_OPERATORS
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _sentence(entry: Mapping[str, Any]) -> str:
    # Of a list, the last part is a position, which says nothing.
    named = [part for part in entry["loc"] if isinstance(part, str)]
    name = _NAMES.get(named[-1], f"“{named[-1]}”")
    bounds = entry.get("ctx") or {}
    match entry["type"]:
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            expected = "must be a whole number"
        case "greater_than_equal":
            expected = f"must be {bounds['ge']:,} or more"
        case "less_than_equal":
            expected = f"must be {bounds['le']:,} or less"
        case "string_too_long":
            expected = "is too long"
        case "enum" | "literal_error":
            expected = f"must be one of {bounds['expected']}"
        case "missing":
            expected = "is missing"
        case _:
            message = plain_message(entry)
            return f"{name} is not right: {message}."
    return f"{name} {expected}."
