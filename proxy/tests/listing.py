"""A server that lists models, in whichever shape a test says, and remembers who asked."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Listing(ThreadingHTTPServer):
    """It says what the test put into `status`, `headers` and `body`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {"content-type": "application/json"}
        self.body = b'{"data": []}'
        self.heard: list[dict[str, str]] = []
        self.serves = ["/v1/messages", "/v1/chat/completions"]  # what else it has
        self.refusal = (400, b'{"error": {"message": "Field required"}}')  # what it says there
        super().__init__(("127.0.0.1", 0), _Lists)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def lists(self, *models: str) -> None:
        self.body = json.dumps({"data": [{"id": model} for model in models]}).encode()

    def speak_tls(self, certificate: str, key: str) -> None:
        """From now on, with these files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


class _Lists(BaseHTTPRequestHandler):
    server: Listing

    def do_GET(self) -> None:
        heard = {name.lower(): value for name, value in self.headers.items()}
        self.server.heard.append({"path": self.path, **heard})
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        is_there = any(self.path.endswith(path) for path in self.server.serves)
        status, body = self.server.refusal if is_there else (404, b"Not Found")
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the test's own output is enough."""


@pytest.fixture
def listing() -> Iterator[Listing]:
    """Such a server on a port of its own."""
    with Listing() as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that leaves
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
