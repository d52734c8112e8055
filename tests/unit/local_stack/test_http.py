"""Requests to the stack's own servers carry their token in a header."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from local_stack.http import answers, graphql, with_token


class Seen(BaseHTTPRequestHandler):
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        type(self).requests.append((self.path, self.headers["Authorization"]))
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(500 if "broken" in self.path else 200)
        self.send_header(
            "Content-Type", "text/plain" if "text" in self.path else "application/json"
        )
        self.end_headers()
        self.wfile.write(b'{"data": {"a": 1}}')

    do_POST = do_GET  # noqa: N815 - the server's names

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[str]:
    Seen.requests = []
    with HTTPServer(("127.0.0.1", 0), Seen) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}/graphql"
        made.shutdown()


def test_a_token_in_the_address_is_sent_as_bearer_token(server: str) -> None:
    assert graphql(with_token(server, "to-ken_1"), "{ a }") == {"a": 1}
    assert answers(with_token(server, "to-ken_1"))
    assert answers(server)
    assert Seen.requests == [
        ("/graphql", "Bearer to-ken_1"),
        ("/graphql", "Bearer to-ken_1"),
        ("/graphql", None),
    ]


def test_an_answer_in_full_is_read_though_its_status_is_an_error(server: str) -> None:
    assert graphql(f"{server}/broken", "{ a }") == {"a": 1}
    with pytest.raises(OSError, match="500"):
        graphql(f"{server}/broken/text", "{ a }")
