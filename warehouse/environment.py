"""Variables of the shell that clients of PostgreSQL and HTTP servers read, and settings' addresses.

Every address of a database here is complete: what a shell exports for another one (PGOPTIONS,
PGSSLMODE, PGSERVICE …) must not change what a statement does. A proxy is the way to the network
outside, never to this machine's loopback.
"""

import os
import re
from collections.abc import Mapping, MutableMapping

#: Variables that name a proxy; programs differ in which case they read.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
#: Variables that list addresses to reach directly.
NO_PROXY = ("no_proxy", "NO_PROXY")
#: Addresses that no proxy can reach.
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
#: Files with settings: the stack's own, then the user's, whose values win. `make up` never writes
#: the second.
DOTENV_FILES = (".env", ".env.local")
_LIBPQ = re.compile(r"PG[A-Z]+")


def forget_libpq_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove what libpq reads from this process, and so from those that it starts."""
    for name in [name for name in environment if _LIBPQ.fullmatch(name)]:
        del environment[name]


def direct_loopback(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return `NO_PROXY` with loopback in it, nothing where there is no proxy."""
    if not any(inherited.get(name) for name in PROXIES):
        return {}
    excepted = [
        part.strip()
        for part in ",".join(inherited.get(name, "") for name in NO_PROXY).split(",")
        if part.strip()
    ]
    # A "*" counts only when it stands alone.
    value = "*" if "*" in excepted else ",".join(dict.fromkeys((*excepted, *LOOPBACK_NAMES)))
    return dict.fromkeys(NO_PROXY, value)


def reach_loopback_directly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Exempt loopback from the proxies of this process and of those that it starts."""
    environment.update(direct_loopback(environment))


def is_postgresql_address(text: str) -> bool:
    """Tell whether an address is one that PostgreSQL's clients read as it was meant.

    `streaming_job.settings` has the same rule.
    """
    import psycopg

    scheme, _, rest = text.partition("://")
    # With an unquoted sign, a part of the password would count as host or port.
    if scheme not in ("postgresql", "postgres") or "@" in rest.partition("@")[2]:
        return False
    if "@" in rest and any(sign in rest.partition("@")[0] for sign in "/?#"):
        return False
    try:
        psycopg.conninfo.conninfo_to_dict(text)
    except psycopg.Error:
        return False
    return True


def refuse_other_addresses(address: str) -> None:
    """Refuse a setting that is no address of PostgreSQL.

    Raises:
        ValueError: It is none. PostgreSQL's own message would quote it, password included.
    """
    if not is_postgresql_address(address):
        raise ValueError(
            "is not like postgresql://user:password@host:port/database; write signs such as "
            "@, /, % and [ in the password as %40, %2F, %25 and %5B"
        )
