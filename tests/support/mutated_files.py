"""Kaggle's files with a few things wrong, made from a number: the same number, the same files."""

import gzip
import random
import shutil
from collections.abc import Callable
from pathlib import Path

#: Values that people, spreadsheets and broken disks have put into such files.
NASTY = [
    "", " ", "NaN", "NA", "-1", "-0", "0", "1", "1.0", "2", "4202.95", "1e9", "1E+05",
    "99999999999",
    "9" * 400, "inf", "0x10", "1_000", "1,5", "1.000,50", "true", "2015-02-30", "2062-01-01",
    "1015-01-01", "9999-12-31", "19.06.2015", "2015-06-19 00:00:00", "2015-06-19T12:00:00",
    "[red]", "[/]", "[/red]", "\\", "\\[", "é", "\u202e", "\x1b[31m", "\x07", "=1+1", '"',
    '""', "'",
    "a", "z", "0.0", "1|2", "\ufeff", "NULL", "None", "\u0664",
]  # fmt: skip
FILES = ("train.csv", "test.csv", "store.csv")

Mutation = Callable[[random.Random, bytes], bytes]


def mutate(source: Path, target: Path, seed: int) -> str:
    """Write the files of `source` to `target` with faults.

    Args:
        source: A folder with the three files, plain.
        target: The folder to write; emptied first.
        seed: What decides the faults.

    Returns:
        What was done.
    """
    random_source = random.Random(seed)  # noqa: S311 - it decides faults, no secrets
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    done = []
    for _ in range(random_source.choice((1, 1, 1, 2, 3))):
        path = target / random_source.choice(FILES)
        if path.exists():
            name, change = random_source.choice(list(CHANGES.items()))
            path.write_bytes(change(random_source, path.read_bytes()))
            done.append(f"{name} in {path.name}")
    if random_source.random() < 0.1:
        _rearrange(random_source, target)
        done.append("files rearranged")
    return ", ".join(done)


def _rearrange(source: random.Random, target: Path) -> None:
    path = target / source.choice(FILES)
    kind = source.randrange(5)
    if not path.exists():
        return
    if kind == 0:
        path.unlink()
    elif kind == 1:
        packed = gzip.compress(path.read_bytes())
        path.unlink()
        path.with_name(path.name + ".gz").write_bytes(packed[: source.randrange(len(packed))])
    elif kind == 2:
        path.rename(path.with_name(path.name + ".zip"))
    elif kind == 3:
        path.unlink()
        path.mkdir()
    else:
        other = target / source.choice(FILES)
        if other.is_file():
            path.write_bytes(other.read_bytes())


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True) or [b""]


def _field(source: random.Random, data: bytes, value: str) -> bytes:
    lines = _lines(data)
    line = source.randrange(len(lines))
    fields = lines[line].rstrip(b"\r\n").split(b",")
    fields[source.randrange(len(fields))] = value.encode()
    lines[line] = b",".join(fields) + b"\n"
    return b"".join(lines)


def _nasty_field(source: random.Random, data: bytes) -> bytes:
    return _field(source, data, source.choice(NASTY))


def _nasty_column(source: random.Random, data: bytes) -> bytes:
    lines = [line.rstrip(b"\r\n").split(b",") for line in _lines(data)]
    column, value = source.randrange(len(lines[0])), source.choice(NASTY).encode()
    for line in lines[1:]:
        if column < len(line):
            line[column] = value
    return b"".join(b",".join(line) + b"\n" for line in lines)


def _flip(source: random.Random, data: bytes) -> bytes:
    place = source.randrange(len(data)) if data else 0
    return data[:place] + bytes([source.randrange(256)]) + data[place + 1 :]


def _insert(source: random.Random, data: bytes) -> bytes:
    place = source.randrange(len(data) + 1)
    what = source.choice((b'"', b",", b"\n", b"\r", b"\0", b"\xff", b";", b"\t"))
    return data[:place] + what + data[place:]


def _cut(source: random.Random, data: bytes) -> bytes:
    return data[: source.randrange(len(data) + 1)]


def _drop(source: random.Random, data: bytes) -> bytes:
    place = source.randrange(len(data) + 1)
    return data[:place] + data[place + source.randrange(1, 200) :]


def _repeat_line(source: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    lines.insert(source.randrange(len(lines) + 1), source.choice(lines))
    return b"".join(lines)


def _swap_columns(source: random.Random, data: bytes) -> bytes:
    lines = [line.rstrip(b"\r\n").split(b",") for line in _lines(data)]
    one, other = (source.randrange(len(lines[0])) for _ in range(2))
    for line in lines[source.randrange(2) :]:
        if max(one, other) < len(line):
            line[one], line[other] = line[other], line[one]
    return b"".join(b",".join(line) + b"\n" for line in lines)


def _add_column(source: random.Random, data: bytes) -> bytes:
    name = source.choice((b"Unnamed: 0", b"Store", b"sales", b"", b"[x]"))
    lines = [line.rstrip(b"\r\n") for line in _lines(data)]
    return b"".join(
        (name if n == 0 else b"7") + b"," + line + b"\n" for n, line in enumerate(lines)
    )


CHANGES: dict[str, Mutation] = {
    "a nasty field": _nasty_field,
    "another nasty field": _nasty_field,
    "a nasty column": _nasty_column,
    "a flipped byte": _flip,
    "an inserted byte": _insert,
    "an early end": _cut,
    "a gap": _drop,
    "a repeated line": _repeat_line,
    "swapped columns": _swap_columns,
    "another column": _add_column,
    "a byte order mark": lambda source, data: b"\xef\xbb\xbf" + data,
    "Windows' line ends": lambda source, data: data.replace(b"\n", b"\r\n"),
    "old line ends": lambda source, data: data.replace(b"\n", b"\r"),
    "semicolons": lambda source, data: data.replace(b",", b";"),
    "UTF-16": lambda source, data: data.decode("utf-8", "replace").encode("utf-16"),
    "the header alone": lambda source, data: _lines(data)[0],
    "nothing": lambda source, data: b"",
    "lower case": lambda source, data: data.lower(),
    "all lines twice": lambda source, data: data + b"".join(_lines(data)[1:]),
}
