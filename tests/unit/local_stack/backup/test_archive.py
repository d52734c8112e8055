"""An archive is complete and whole, or it is refused; nobody else can read it."""

import io
import tarfile
from pathlib import Path

import pytest

from local_stack.backup.archive import (
    DATABASES,
    Manifest,
    Offsets,
    extract_folder,
    new_archive,
    read_member,
    verify,
)
from local_stack.errors import StackError

MANIFEST = Manifest(
    made_at="2026-01-02T03:04:05+00:00",
    versions={"postgresql": "16.4"},
    revision="0019",
    offsets=[Offsets("sales", "uuid", 0, 0, 7)],
    rows={"stores": 3},
    calendar=["2024-01-01", ""],
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "kept" / "a.tar"
    files = tmp_path / "files"
    (files / "7").mkdir(parents=True)
    (files / "7" / "model.bin").write_bytes(b"model" * 5000)
    with new_archive(path) as writer:
        for name in DATABASES:
            (writer.folder / name).write_bytes(name.encode() * 3000)
            writer.add(f"{name}.dump", writer.folder / name)
        writer.add_folder("artifacts", files)
        writer.finish(MANIFEST)
    return path


def test_an_archive_is_read_as_it_was_written(archive: Path, tmp_path: Path) -> None:
    manifest = verify(archive)
    assert (manifest.offsets, manifest.rows) == (MANIFEST.offsets, MANIFEST.rows)
    assert manifest.members["sales.dump"].bytes == len("sales") * 3000
    read: list[bytes] = []
    read_member(archive, "mlflow.dump", lambda file: read.append(file.read()))
    assert read == [b"mlflow" * 3000]
    assert extract_folder(archive, "artifacts", tmp_path / "out") == 1
    assert (tmp_path / "out" / "7" / "model.bin").read_bytes() == b"model" * 5000


def test_only_its_owner_reads_it_and_nothing_stays_beside_it(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(archive.parent.iterdir()) == [archive]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with pytest.raises(ZeroDivisionError), new_archive(path) as writer:
        writer.add_folder("artifacts", tmp_path)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(StackError, match="exists already"), new_archive(archive):
        raise AssertionError
    assert archive.read_bytes() == before


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_one_that_was_cut_short_is_refused(archive: Path, share: float) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(StackError, match=r"no archive|incomplete|damaged"):
        verify(archive)


def test_one_without_a_manifest_is_incomplete(archive: Path) -> None:
    whole = archive.read_bytes()
    cut = whole.index(b"manifest.json")
    archive.write_bytes(whole[:cut] + bytes(10240))
    with pytest.raises(StackError, match="its manifest is missing"):
        verify(archive)


def test_a_changed_byte_is_found(archive: Path) -> None:
    whole = bytearray(archive.read_bytes())
    place = whole.index(b"dagsterdagster") + 100
    whole[place] ^= 1
    archive.write_bytes(whole)
    with pytest.raises(StackError, match=r"is damaged \(dagster.dump\)"):
        verify(archive)


def test_a_newer_format_and_other_files_are_refused(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(archive.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(StackError, match="its format is 2"):
        verify(other)
    other.write_text("no tar file")
    with pytest.raises(StackError, match="no archive"):
        verify(other)
    with pytest.raises(StackError, match="No such file"):
        verify(tmp_path / "none.tar")


@pytest.mark.parametrize("name", ["../escaped", "/etc/passwd", "artifacts/../../x", "secrets"])
def test_a_member_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 1
        tar.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(StackError, match="which no archive of a stack does"):
        verify(path)
