"""Java's options for the way to the network: proxies and trust, from the shell's variables.

Java does not read `https_proxy`. Only the fetch of the jars needs the network outside; services get
none of this.
"""

import re
import shlex
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from local_stack.errors import StackError
from warehouse.environment import NO_PROXY, direct_loopback

#: Options for the network that a shell hands to every Java; others could keep it from working.
_NETWORK_OPTION = re.compile(r"-D(?:https?\.|ftp\.|socks\w+|javax\.net\.|java\.net\.).*")
_OPTION_VARIABLES = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_USUAL_PORTS = {"http": 80, "https": 443}


def network_options(environment: Mapping[str, str]) -> list[str]:
    """Return the options that lead Java through the proxies of a shell.

    Args:
        environment: The shell's variables.

    Returns:
        Options of the `java` program. They may contain a password: keep them out of a command line.

    Raises:
        StackError: A variable names no proxy.
    """
    options = []
    for name in _OPTION_VARIABLES:
        try:
            words = shlex.split(environment.get(name, ""))
        except ValueError:
            # Java itself would refuse it; nothing in it can be relied on.
            continue
        options += [word for word in words if _NETWORK_OPTION.fullmatch(word)]
    for scheme in ("http", "https"):
        proxy = _proxy(environment, scheme)
        if proxy is not None:
            options += _options_of(scheme, proxy)
    excepted = direct_loopback(environment).get(NO_PROXY[0], "")
    if excepted and excepted != "*":
        hosts = "|".join(_java_pattern(host) for host in excepted.split(","))
        options.append(f"-Dhttp.nonProxyHosts={hosts}")
    return options


def argument_file(options: list[str]) -> str:
    """Return the text of a file that `java @file` reads its options from."""
    quoted = (option.replace("\\", "\\\\").replace('"', '\\"') for option in options)
    return "".join(f'"{option}"\n' for option in quoted)


def _proxy(environment: Mapping[str, str], scheme: str) -> SplitResult | None:
    if "*" in (environment.get(name, "").strip() for name in NO_PROXY):
        return None
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        text = environment.get(name, "").strip()
        if not text:
            continue
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        try:
            usable = proxy.hostname is not None and (proxy.port is None or proxy.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise StackError(f"{name} is not the address of a proxy: write http://host:port.")
        return proxy
    return None


def _options_of(scheme: str, proxy: SplitResult) -> list[str]:
    if proxy.scheme.startswith("socks"):
        return [
            f"-DsocksProxyHost={proxy.hostname}",
            f"-DsocksProxyPort={proxy.port or 1080}",
        ]
    options = [
        f"-D{scheme}.proxyHost={proxy.hostname}",
        f"-D{scheme}.proxyPort={proxy.port or _USUAL_PORTS.get(proxy.scheme, 80)}",
    ]
    if proxy.username:
        # Ivy reads both under these names, whatever the scheme. Java refuses Basic authentication
        # for tunnels unless told otherwise.
        options += [
            f"-Dhttp.proxyUser={unquote(proxy.username)}",
            f"-Dhttp.proxyPassword={unquote(proxy.password or '')}",
            "-Djdk.http.auth.tunneling.disabledSchemes=",
        ]
    return options


def _java_pattern(host: str) -> str:
    """Return an entry of `NO_PROXY`, where `.org` means a domain, as Java writes it."""
    return f"*{host}" if host.startswith(".") else host
