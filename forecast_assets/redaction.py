"""Redaction: take passwords and addresses with secrets out of text that leaves the system."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

#: Words in the names of environment variables whose values are secret.
_SECRET_NAMES = ("PASSWORD", "SECRET", "TOKEN", "WEBHOOK", "CREDENTIAL", "API_KEY")

#: Shorter values would hide ordinary words.
_SHORTEST_SECRET = 6

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_ASSIGNED = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api_?key)(\s*[=:]\s*)(['\"]?)[^\s'\",;)]+"
)


def redact(text: str) -> str:
    """Hide what looks like a secret, and the secrets of this process's settings."""
    for secret in sorted(set(_known_secrets()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _USER_INFO.sub(HIDDEN, text)
    return _ASSIGNED.sub(rf"\1\2\3{HIDDEN}", text)


def _known_secrets() -> Iterator[str]:
    from forecast_assets.settings import settings

    values = list(_secret_variables())
    config = settings()
    for address in (config.database_url, config.reader_database_url):
        if address is not None:
            values.append(address.get_secret_value())
    if config.alert_webhook is not None:
        values.append(str(config.alert_webhook.get_secret_value()))
    for value in values:
        try:
            password = urlsplit(value).password if "://" in value else None
        except ValueError:
            password = None
        for secret in (value, password, unquote(password) if password else None):
            if secret is not None and len(secret) >= _SHORTEST_SECRET:
                yield secret


def _secret_variables() -> Iterator[str]:
    for name, value in os.environ.items():
        has_password = "://" in value and "@" in value
        if value and (has_password or any(word in name.upper() for word in _SECRET_NAMES)):
            yield value
