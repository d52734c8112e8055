"""HTTP requests to servers on loopback, never through a proxy.

An address may hold a token as its password; it is sent in a header and never stays in the address.
"""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# A proxy of the environment cannot reach this machine's loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str, timeout: float = 5.0) -> bool:
    """Tell whether a GET request succeeds."""
    try:
        with _opener.open(_request(url), timeout=timeout) as response:
            return bool(200 <= response.status < 300)
    except (urllib.error.URLError, OSError):
        return False


def get_json(url: str, timeout: float = 15.0) -> dict[str, Any]:
    """Return the JSON object that a GET request is answered with, whatever its status.

    Raises:
        OSError: The server does not answer.
        ValueError: The answer is no JSON object.
    """
    try:
        response = _opener.open(_request(url), timeout=timeout)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        answer = json.load(response)
    if not isinstance(answer, dict):
        raise ValueError(f"an object was expected, not {type(answer).__name__}")
    return answer


def graphql(url: str, query: str, timeout: float = 30.0) -> dict[str, Any]:
    """Send a query to a GraphQL server.

    Args:
        url: Address of the endpoint.
        query: The query.
        timeout: Seconds to wait for the answer.

    Returns:
        The answer's `data`.

    Raises:
        OSError: The server does not answer (`urllib.error.URLError` is one).
        ValueError: The answer contains errors.
    """
    request = _request(
        url,
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        response = _opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        # Dagster answers an error of user code, such as wrong run config, with status 500 and data.
        if error.headers.get_content_type() != "application/json":
            raise
        response = error
    with response:
        answer: dict[str, Any] = json.load(response)
    if answer.get("errors"):
        raise ValueError(str(answer["errors"][0].get("message")))
    data: dict[str, Any] = answer["data"]
    return data


def with_token(url: str, token: str) -> str:
    """Return an address that holds a token, for the functions of this module: never print it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"token:{token}@{parts.netloc}"))


def _request(
    url: str, data: bytes | None = None, headers: dict[str, str] | None = None
) -> urllib.request.Request:
    parts = urlsplit(url)
    sent = dict(headers or {})
    if parts.password:
        sent["Authorization"] = f"Bearer {parts.password}"
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(  # noqa: S310 - the stack made the address itself
        url, data=data, headers=sent
    )
