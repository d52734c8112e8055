"""What the stack's processes inherit from the shell that starts it.

A service gets what is listed here, the settings that its user made (`own_settings.py`) and its part
of the contract (`environment.py`). Everything else stays outside: a library underneath might read
it, and the stack would work in one shell and not in another.
"""

import os
from collections.abc import Collection, Mapping, MutableMapping

from warehouse.environment import NO_PROXY, PROXIES, direct_loopback, reach_loopback_directly

#: Where programs, libraries, temporary files and trusted certificates are, and who the user is.
MACHINE = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
#: One locale everywhere: file names of any letters, numbers with a point, messages in English.
LOCALE = {"LC_ALL": "C.UTF-8"}
#: What the stack's own command needs besides: the terminal, and the way to PyPI for a Java.
_COMMAND_PREFIXES = ("STACK_", "PIP_", "LC_")
_COMMAND = (
    "LANG",
    "TERM",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM_PROGRAM",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
)


def service_base(
    inherited: Mapping[str, str] = os.environ, also: Collection[str] = ()
) -> dict[str, str]:
    """Return what a service inherits.

    Args:
        inherited: The environment of whoever starts it.
        also: Further variables that it may see: settings.
    """
    kept = {name: inherited[name] for name in (*MACHINE, *PROXIES, *also) if name in inherited}
    return kept | direct_loopback(inherited) | LOCALE


def keep_known_variables(
    also: Collection[str], environment: MutableMapping[str, str] = os.environ
) -> None:
    """Reduce the environment of the stack's own command to what it knows.

    Args:
        also: Variables that are settings.
        environment: The environment, by default this process's.
    """
    known = {*MACHINE, *PROXIES, *NO_PROXY, *_COMMAND, *also}
    for name in list(environment):
        if name not in known and not name.startswith(_COMMAND_PREFIXES):
            del environment[name]
    reach_loopback_directly(environment)
