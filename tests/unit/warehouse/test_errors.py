"""An address that does not fit is told from a database that does not answer."""

import pytest

from warehouse.errors import UnreachableError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[libpq] Failed to connect: Connection refused", "does not answer"),
        ("SSL connection has been closed unexpectedly", "does not answer"),
        (
            "Failed to connect:\nSSL error: certificate verify failed",
            "cannot be entered (SSL error",
        ),
        ("server does not support SSL, but SSL was required", "cannot be entered"),
        ('FATAL: password authentication failed for user "x"\n', "check user, password"),
    ],
)
def test_a_refusal_is_no_silence(text: str, words: str) -> None:
    message = str(UnreachableError.of_driver(RuntimeError(text)))
    assert words in message and "\n" not in message
