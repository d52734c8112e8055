"""The archive: a tar file whose last member, the manifest, describes the others.

An archive that was cut short has no manifest, and what changed on the way fails its checksum. The
checksums find damage; they don't prove who made the file.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from local_stack.errors import StackError

#: Bump this when an older version of this module could not restore an archive.
FORMAT = 1
MANIFEST = "manifest.json"
#: The databases' members, and the folders whose files may follow.
DATABASES = ("sales", "dagster", "mlflow")
FOLDERS = ("artifacts", "data")
#: Bytes to copy at a time.
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Offsets:
    """One topic-partition of the ledger, from the snapshot that was dumped."""

    topic: str
    topic_uuid: str
    topic_partition: int
    first_offset: int
    next_offset: int


@dataclass(frozen=True)
class Member:
    """A member of the archive as it must be."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes:
        made_at: When the snapshot was taken (ISO 8601).
        versions: Of this project, PostgreSQL, Dagster and MLflow.
        revision: The newest migration of the sales schema.
        offsets: The ledger.
        rows: Table of the sales schema -> its number of rows.
        calendar: First and last day of the embedded stack's calendar; None outside of it.
        members: Name -> what it must be.
        format: The version of the archive.
    """

    made_at: str
    versions: dict[str, str]
    revision: str
    offsets: list[Offsets]
    rows: dict[str, int]
    calendar: list[str] | None = None
    members: dict[str, Member] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def parse(cls, text: bytes) -> "Manifest":
        """Return the manifest of an archive.

        Raises:
            ValueError: It is none, or a newer one than this code reads.
        """
        values: dict[str, Any] = json.loads(text)
        if values.get("format") != FORMAT:
            raise ValueError(f"its format is {values.get('format')}, and this code reads {FORMAT}")
        values["offsets"] = [Offsets(**row) for row in values["offsets"]]
        values["members"] = {name: Member(**one) for name, one in values["members"].items()}
        return cls(**values)


class Writer:
    """Adds members to an archive that is being made."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        """Remember the tar file, and a private folder for what is about to be added."""
        self.folder = folder
        self._tar = tar
        self._members: dict[str, Member] = {}

    def add(self, name: str, path: Path) -> None:
        """Add a file; one that grows meanwhile counts with the size that it has now."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            reading = _Hashing(file)
            self._tar.addfile(_entry(name, size), reading)
        self._members[name] = Member(size, reading.digest.hexdigest())

    def add_folder(self, name: str, folder: Path) -> None:
        """Add all files below a folder, if there is one, but for those that vanish meanwhile."""
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_symlink() or not path.is_file():
                continue
            try:
                self.add(f"{name}/{path.relative_to(folder).as_posix()}", path)
            except FileNotFoundError:
                # Whoever deleted it meanwhile needs it no longer.
                continue

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest, which makes the archive complete."""
        members = {name: asdict(member) for name, member in self._members.items()}
        text = json.dumps(asdict(manifest) | {"members": members}, indent=1).encode()
        self._tar.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))


class _Hashing(io.RawIOBase):
    """A file that computes the checksum of what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


@contextmanager
def new_archive(path: Path) -> Iterator[Writer]:
    """Make an archive under a temporary name; give it its own when the block ends well.

    Raises:
        StackError: There is a file of that name, or it cannot be written.
    """
    if path.exists():
        raise StackError(f"{path} exists already: choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkdtemp makes it the user's alone.
        folder = Path(tempfile.mkdtemp(prefix=".backup-", dir=path.parent))
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}.") from error
    unfinished = folder / path.name
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar, folder)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StackError(
            f"{path} could not be written: {error.strerror or error}; nothing was left behind."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify(path: Path) -> Manifest:
    """Read a whole archive and return its manifest.

    Raises:
        StackError: It is missing, incomplete, damaged, or none.
    """
    found: dict[str, Member] = {}
    manifest = None
    try:
        with tarfile.open(path, mode="r:") as tar:
            for entry in tar:
                _refuse_strange(path, entry)
                reading = _Hashing(_file_of(tar, entry))
                if entry.name == MANIFEST:
                    manifest = Manifest.parse(reading.read())
                    continue
                while reading.read(CHUNK_BYTES):
                    continue
                found[entry.name] = Member(entry.size, reading.digest.hexdigest())
    except (OSError, tarfile.TarError, ValueError, TypeError, KeyError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise StackError(f"{path} is no archive that can be restored: {reason}.") from error
    if manifest is None:
        raise StackError(
            f"{path} is incomplete (its manifest is missing): take another backup's archive."
        )
    wrong = sorted(
        name
        for name in {*manifest.members, *found}
        if manifest.members.get(name) != found.get(name)
    )
    wrong += [f"{name}.dump" for name in DATABASES if f"{name}.dump" not in found]
    if wrong:
        raise StackError(
            f"{path} is damaged ({', '.join(dict.fromkeys(wrong))}): take another backup's archive."
        )
    return manifest


def _refuse_strange(path: Path, entry: tarfile.TarInfo) -> None:
    """Refuse a member that no archive of ours has, such as one that leads out of its folder."""
    parts = PurePosixPath(entry.name).parts
    is_ours = entry.name in (MANIFEST, *(f"{name}.dump" for name in DATABASES)) or (
        len(parts) > 1 and parts[0] in FOLDERS and ".." not in parts
    )
    if not entry.isfile() or not is_ours:
        raise StackError(f"{path} holds {entry.name!r}, which no archive of a stack does.")


def _file_of(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(entry)
    if file is None:
        raise tarfile.TarError(f"{entry.name} is no file")
    return file


def read_member(path: Path, name: str, use: Callable[[IO[bytes]], None]) -> None:
    """Call a function with a member of a verified archive."""
    with tarfile.open(path, mode="r:") as tar:
        use(_file_of(tar, tar.getmember(name)))


def extract_folder(path: Path, name: str, target: Path) -> int:
    """Write the files of a folder in a verified archive; existing ones are replaced one by one.

    Returns:
        The number of files.
    """
    count = 0
    with tarfile.open(path, mode="r:") as tar:
        for entry in tar:
            if PurePosixPath(entry.name).parts[0] != name:
                continue
            place = target / PurePosixPath(entry.name).relative_to(name)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished = place.with_name(place.name + ".restoring")
            with unfinished.open("wb") as file:
                shutil.copyfileobj(_file_of(tar, entry), file, CHUNK_BYTES)
            unfinished.replace(place)
            count += 1
    return count
