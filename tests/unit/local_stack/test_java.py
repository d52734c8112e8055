"""Finding a Java, and the wrapper around the one from PyPI."""

import stat
import subprocess
from pathlib import Path

import pytest

from local_stack import java
from local_stack.errors import StackError


def fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    (home / "lib").mkdir()
    (home / "lib" / "modules").touch()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return home


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java.paths, "environment_folder", lambda: tmp_path / "venv")


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21.0.8" 2025-07-15 LTS', 21),
        ('java version "1.8.0_202"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("command not found", None),
    ],
)
def test_parse_version(text: str, major: int | None) -> None:
    assert java.parse_version(text) == major


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "home", "17.0.1")))
    monkeypatch.setenv("PATH", f"{fake_java(tmp_path / 'path', '21.0.1') / 'bin'}:/bin:/usr/bin")
    assert java.java_home() == tmp_path / "home"


def test_an_unsuitable_java_home_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_202")))
    monkeypatch.setenv("PATH", str(fake_java(tmp_path / "path", "21.0.1") / "bin"))
    assert java.java_home() == tmp_path / "path"


def test_no_java_says_what_to_do_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "11.0.2")))
    with pytest.raises(StackError, match=r"No Java 17 or 21: run `make setup`.*11") as refused:
        java.java_home()
    assert "\n" not in str(refused.value)


def test_the_wrapper_drops_the_missing_module_and_keeps_the_rest(tmp_path: Path) -> None:
    real = tmp_path / "real with blank"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "java").write_text('#!/bin/sh\nfor a in "$@"; do echo "<$a>"; done\n')
    (real / "bin" / "java").chmod(0o755)
    java.write_wrapper(real, tmp_path / "wrapped")
    answer = subprocess.run(
        [
            str(tmp_path / "wrapped" / "bin" / "java"),
            "-Xmx1g",
            "--add-modules=jdk.incubator.vector",
            "two words",
            "",
            "*",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    passed = [line for line in answer.stdout.splitlines() if "trustStore" not in line]
    assert passed == ["<-Xmx1g>", "<two words>", "<>", "<*>"]


def test_the_wrapper_works_without_arguments(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "java").write_text("#!/bin/sh\necho ran\n")
    (real / "bin" / "java").chmod(0o755)
    java.write_wrapper(real, tmp_path / "wrapped")
    answer = subprocess.run(
        [str(tmp_path / "wrapped" / "bin" / "java")], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "ran\n"
