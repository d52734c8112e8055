"""Jar sets: whole or absent, and a clear line when they cannot be fetched."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from local_stack import jars
from local_stack.errors import StackError

COORDINATES = [("org.example", "thing", "1.0")]


def write_set(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thing-1.0.jar").write_bytes(b"12345")
    (folder / jars.MANIFEST).write_text(
        json.dumps({"coordinates": COORDINATES, "jars": {"thing-1.0.jar": {"bytes": 5}}})
    )


def test_a_set_is_whole_as_its_manifest_says(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    assert jars.is_whole(tmp_path / "set", COORDINATES)


def test_a_set_that_was_cut_short_is_not(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "thing-1.0.jar").write_bytes(b"123")
    assert not jars.is_whole(tmp_path / "set", COORDINATES)
    (tmp_path / "set" / "thing-1.0.jar").unlink()
    assert not jars.is_whole(tmp_path / "set", COORDINATES)


def test_a_set_of_other_versions_is_fetched_again(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    assert not jars.is_whole(tmp_path / "set", [("org.example", "thing", "2.0")])


def test_an_absent_or_broken_manifest_means_not_whole(tmp_path: Path) -> None:
    assert not jars.is_whole(tmp_path, COORDINATES)
    (tmp_path / jars.MANIFEST).write_text("{")
    assert not jars.is_whole(tmp_path, COORDINATES)


def test_missing_jars_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="run `make setup`"):
        jars.require_jars("kafka", tmp_path)


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("kafka-clients-3.9.2.jar", "kafka-clients"),
        ("spark-sql-kafka-0-10_2.13-4.2.0.jar", "spark-sql-kafka"),
        ("scala-library-2.13.18.jar", "scala-library"),
        ("jsr305-3.0.0.jar", "jsr305"),
    ],
)
def test_artifact(file_name: str, expected: str) -> None:
    assert jars.artifact(file_name) == expected


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(StackError, match=r"No disk space for the jars in .*free \d+ MB") as refused:
        jars.ensure_jars(tmp_path / "jars")
    assert "\n" not in str(refused.value)


def test_what_pyspark_ships_and_sources_are_dropped(tmp_path: Path) -> None:
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for name in ("new-thing-1.0.jar", "slf4j-api-1.7.36.jar", "new-thing-1.0-sources.jar"):
        (fetched / name).write_bytes(b"x")
    jars._finish(fetched, tmp_path / "spark", "spark")
    assert [path.name for path in (tmp_path / "spark").glob("*.jar")] == ["new-thing-1.0.jar"]
    assert jars.is_whole(tmp_path / "spark", jars.JAR_SETS["spark"])


def fake_java(folder: Path, output: str, code: int) -> str:
    program = folder / "java"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit {code}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (":: UNRESOLVED DEPENDENCIES ::\n:: org.a#b;1.0: not found", r"not found: org.a#b;1.0"),
        ("java.io.IOException: No space left on device", "No disk space for the jars"),
        ("Server access error: repo1.maven.org", "Server access error: repo1.maven.org"),
    ],
)
def test_ivys_failures_become_one_line(output: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=expected) as refused:
        jars._retrieve(
            fake_java(tmp_path, output, 1), tmp_path, tmp_path, ["kafka"], lambda line: None
        )
    assert "\n" not in str(refused.value)


def test_a_failed_fetch_leaves_no_half_made_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        jars.java, "java_program", lambda allow_install: fake_java(tmp_path, "broken", 1)
    )
    with pytest.raises(StackError, match="could not be fetched"):
        jars.ensure_jars(tmp_path / "jars")
    assert not list((tmp_path / "jars").glob("*"))


def test_progress_names_what_was_fetched(tmp_path: Path) -> None:
    told: list[str] = []
    line = "\t[SUCCESSFUL ] org.yaml#snakeyaml;2.5!snakeyaml.jar(bundle) (144ms)"
    jars._retrieve(fake_java(tmp_path, line, 0), tmp_path, tmp_path, ["kafka"], told.append)
    assert told == ["fetched snakeyaml"]
