"""What other users of the machine may not see: folders, files with secrets, generated tokens.

PostgreSQL refuses to run as root, so root runs it as another user that exists anyway. That user
may pass through the stack's folders to its data, and see nothing else in them.
"""

import os
import pwd
import secrets
from contextlib import suppress
from pathlib import Path

from local_stack.errors import StackError

#: A numeric user and group.
User = tuple[int, int]
#: Who runs PostgreSQL when root starts the stack: the first of these that exists.
UNPRIVILEGED_USERS = ("postgres", "nobody")
OWNER_ALONE = 0o700
OWNER_AND_PASSAGE = 0o710
#: Bytes of a generated secret, written as four characters for three bytes.
SECRET_BYTES = 32


def server_user() -> User | None:
    """Return the user and group that PostgreSQL must run as, None for the current ones.

    Raises:
        StackError: Root starts the stack, and no other user is there to run the server.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError(
        "PostgreSQL does not run as root, and there is no user "
        f"{' or '.join(UNPRIVILEGED_USERS)} to run it as: run this as an ordinary user."
    )


def can_enter(folder: Path, user: User) -> bool:
    """Tell whether a user may pass through a folder and all folders above it."""
    for part in [folder, *folder.parents]:
        if not part.exists():
            continue
        status = part.stat()
        if status.st_uid == user[0]:
            bit = 0o100
        elif status.st_gid == user[1]:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return False
    return True


def make_private(folder: Path, passage: User | None = None) -> None:
    """Make a folder, or close an existing one, so that only its owner gets in.

    Args:
        folder: The folder.
        passage: A user whose group may pass through it to a folder below, but not list it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ALONE)
    if passage is None:
        folder.chmod(OWNER_ALONE)
        return
    os.chown(folder, os.geteuid(), passage[1])
    folder.chmod(OWNER_AND_PASSAGE)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; replace an existing one."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def new_secret() -> str:
    """Return a secret that nobody can guess, in letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(SECRET_BYTES)


def kept_secret(path: Path) -> str:
    """Return the secret in a file; make both when there is none."""
    if not path.exists():
        # Threads that start services side by side must agree: only one of them links its file.
        own = path.with_name(f"{path.name}.{new_secret()}")
        write_private(own, new_secret())
        with suppress(FileExistsError):
            path.hardlink_to(own)
        own.unlink()
    return path.read_text()
