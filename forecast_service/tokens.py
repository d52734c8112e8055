"""Access tokens: 256 random bits that a client sends as bearer token.

The database keeps their SHA-256 and scopes. The owner's role makes and revokes them; the service
can only look one up.
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from warehouse.service import tokens as statements

Scope = Literal["read", "plan", "train", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "fs_"
TOKEN_BYTES = 32
#: Seconds that a valid token is remembered, so that not every request asks the database.
REMEMBERED_SECONDS = 10.0
#: Most tokens to remember.
REMEMBERED = 1_000


@dataclass(frozen=True)
class Client:
    """Who sent a request.

    Attributes:
        name: The token's name.
        scopes: What the token allows.
    """

    name: str
    scopes: frozenset[str]


def new_token() -> str:
    """Return a new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """Return what the database keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """Looks up tokens, and remembers valid ones for some seconds."""

    def __init__(
        self, look_up: Callable[[str, Sequence[Any]], Awaitable[dict[str, Any] | None]]
    ) -> None:
        """Remember how to ask the database.

        Args:
            look_up: Returns the only row of a statement.
        """
        self._look_up = look_up
        self._known: dict[bytes, tuple[float, Client]] = {}

    async def client(self, token: str) -> Client | None:
        """Return whose token it is; None if it is nobody's."""
        digest = digest_of(token)
        known = self._known.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        self._known.pop(digest, None)
        row = await self._look_up(statements.SCOPES_OF, (digest,))
        if row is None:
            return None
        client = Client(row["name"], frozenset(row["scopes"]))
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[digest] = (time.monotonic() + REMEMBERED_SECONDS, client)
        return client
