"""Valid, nearly valid and invalid events from a seed: what the fuzzer sends."""

import json
import random
from collections.abc import Callable
from datetime import date, timedelta

from streaming_job.reason_codes import MAX_VALUE_BYTES

TOKENS = [
    "0", "1", "2", "-1", "-0", "7", "8", "01", "1.0", "1.5", "-0.0", "1e2", "1E400", "-1e400",
    "0.0e-999", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",
    "9223372036854775808", "1" + "0" * 40, "-" + "9" * 60, "1" * 320, "null", "true", "false",
    "NaN", "Infinity", "-Infinity", "+1", "+Infinity", "-NaN", "nan", ".5", "5.", "0x10", "١٢",
    '"1"', '"0"', '"a"', '"b"', '"c"', '"d"', '"A"', '""', '" 0"', '"0 "', '"\\u0030"', '"\\u0061"',
    '"2015-06-12"', '"2015-02-29"', '"2016-02-29"', '"2015-2-9"', '"2015-06-31"', '"0000-01-01"',
    '"2015-06-12T00:00:00"', '" 2015-06-12"', '"2015-06-12 "', '"20150612"', '"2012-12-31"',
    '"2013-01-01"', '"2015-12-31"', '"2016-01-01"', '"9999-12-31"', '"10000-01-01"',
    '"+2015-06-12"',
    '"2015-06-1\\u0032"', '"２０１５-06-12"', '"NaN"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"',
    '"😀"', '"\x01"', '"\\x"', '"unclosed', "'1'", "[]", "[1, 2]", "{}", '{"Sales": 1}',
    '{"a": 1, "a": 2}', '{"a": NaN}', "[NaN,NaN]", "[[[[[[]]]]]]",  "", " ", "1 2", "1,", "/**/1",
    "[" * 99 + "]" * 99, "[" * 100 + "]" * 100,
]  # fmt: skip
BLANKS = ["", " ", "\t", "\n", "\r\n", "  ", "\u00a0", "\ufeff", "\x0b", "\x00"]
TAILS = [
    "x", "}", "]", "{}", ",", " ", "\n", "\x00", "} ", '{"Store":1}', "]}", "}]", "] }", "],[1",
    '],"v":1}', "//", "#", ",1", '},{"a":1', "null",
]  # fmt: skip
SIZES = [MAX_VALUE_BYTES - 1, MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1]
FIRST, LAST = date(2013, 1, 1), date(2015, 12, 31)


def good_tokens(rng: random.Random) -> dict[str, str]:
    day = FIRST + timedelta(days=rng.randrange((LAST - FIRST).days + 1))
    is_open = int(rng.random() < 0.85)
    return {
        "Store": str(rng.randrange(1, 1116)),
        "DayOfWeek": str(day.isoweekday()),
        "Date": f'"{day.isoformat()}"',
        "Sales": str(rng.randrange(0, 40_000) if is_open else 0),
        "Customers": str(rng.randrange(0, 5_000) if is_open else 0),
        "Open": str(is_open),
        "Promo": str(rng.randrange(2)),
        "StateHoliday": rng.choice(['"0"', "0", '"a"', '"b"', '"c"']),
        "SchoolHoliday": str(rng.randrange(2)),
    }


def _drop(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    for _ in range(rng.choice([1, 1, 2, 3])):
        if pairs:
            pairs.pop(rng.randrange(len(pairs)))


def _plan(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    gone = {'"Sales"', '"Customers"'} | ({'"Open"'} if rng.random() < 0.5 else set())
    pairs[:] = [pair for pair in pairs if pair[0] not in gone]


def _replace(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    index = rng.randrange(len(pairs))
    pairs[index] = (pairs[index][0], rng.choice(TOKENS))


def _double(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    name, token = rng.choice(pairs)
    if rng.random() < 0.3 and name[1:-1].isalpha():
        name = '"\\u00' + format(ord(name[1]), "02x") + name[2:]
    pairs.insert(rng.randrange(len(pairs) + 1), (name, rng.choice([token, *TOKENS])))


def _extra(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    name = rng.choice(['"x"', '"store"', '""', '"Sales "', '"é"', "x", '"\\ud800"', '"v"'])
    pairs.insert(rng.randrange(len(pairs) + 1), (name, rng.choice(TOKENS)))


def _rename(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    index = rng.randrange(len(pairs))
    name, token = pairs[index]
    renamed = rng.choice([name.lower(), name[1:-1], f"'{name[1:-1]}'", '"\\u0053tore"', name])
    pairs[index] = (renamed, token)


def _shuffle(rng: random.Random, pairs: list[tuple[str, str]]) -> None:
    rng.shuffle(pairs)


STEPS: list[Callable[[random.Random, list[tuple[str, str]]], None]] = [
    _drop, _plan, _replace, _replace, _replace, _double, _extra, _rename, _shuffle,
]  # fmt: skip


def _write(rng: random.Random, pairs: list[tuple[str, str]]) -> str:
    style = rng.random()
    if style < 0.4:
        return "{" + ",".join(f"{name}:{token}" for name, token in pairs) + "}"
    if style < 0.7:
        return "{" + ", ".join(f"{name}: {token}" for name, token in pairs) + "}"

    def blank() -> str:
        return rng.choice(BLANKS[:6]) if rng.random() < 0.97 else rng.choice(BLANKS)

    inner = ",".join(f"{blank()}{name}{blank()}:{blank()}{token}{blank()}" for name, token in pairs)
    return f"{blank()}{{{inner}}}{blank()}"


def event_value(rng: random.Random) -> bytes | None:  # noqa: PLR0912
    """Return the value of one event; about a third are valid."""
    pairs = [(json.dumps(name), token) for name, token in good_tokens(rng).items()]
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 3])):
        if pairs:
            rng.choice(STEPS)(rng, pairs)
    text = _write(rng, pairs)
    damage = rng.random()
    if damage < 0.04:
        text += rng.choice(TAILS)
    elif damage < 0.05:
        text = rng.choice(["[" + text + "]", text[1:-1], json.dumps(text), rng.choice(TOKENS)])
    elif damage < 0.06:
        text = text.replace('"', "'")
    value = text.encode(errors="surrogatepass")
    if 0.06 <= damage < 0.16:
        changed = bytearray(value)
        for _ in range(rng.choice([1, 1, 2, 4])):
            where = rng.randrange(len(changed) + 1)
            kind = rng.randrange(3)
            if kind == 0:
                changed[where:where] = bytes([rng.randrange(256)])
            elif kind == 1:
                del changed[where : where + 1]
            else:
                letter = rng.choice(b'{}[]":,0123456789-.eE \\nNaNtf\x00\xff')
                changed[where : where + 1] = bytes([letter])
        value = bytes(changed)
    elif damage < 0.165:
        return value[: rng.randrange(len(value) + 1)]
    elif damage < 0.168:
        return None
    elif damage < 0.171:
        return b" " * rng.choice(SIZES)
    elif damage < 0.175:
        room = rng.choice(SIZES) - len(value)
        return value + b" " * max(0, room)
    elif damage < 0.1755:
        return b'{"Store":' + b"9" * rng.choice([900, 1_000_000]) + b"}"
    return value
