"""A scripted sign-in on a real socket: a gateway's metadata, and an issuer's endpoints."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

LOOK_S = 0.02


@dataclass(slots=True)
class Provider:
    """What it answers next, and what it was asked."""

    url: str = ""
    metadata: dict[str, Any] | None = field(default_factory=dict)  # None: there is none
    issuer_says: str = ""  # another name than its own
    device: dict[str, Any] = field(
        default_factory=lambda: {"interval": 1, "expires_in": 600, "user_code": "ABCD-EFGH"}
    )
    answers: list[tuple[int, Any]] = field(default_factory=list)  # of the token endpoint
    forms: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    renewed: int = 0

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/.well-known/oauth-protected-resource" and self.metadata is not None:
            own = {"authorization_servers": [self.url], "opscenter_client_id": "cli"}
            return 200, own | self.metadata
        if path == "/.well-known/openid-configuration":
            names = {"device_authorization": "device", "token": "token", "revocation": "revoke"}
            found = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in names.items()}
            return 200, found | {"issuer": self.issuer_says or self.url}
        return 404, {}

    def post(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.forms.append((path, form))
        if path == "/device":
            page = f"{self.url}/yes"
            return 200, {"device_code": "d", "verification_uri": page} | self.device
        if path == "/token" and self.answers:
            return self.answers.pop(0)
        if path == "/token":
            self.renewed += 1
            return 200, tokens(self.renewed)
        return 200, {}


def tokens(number: int, **more: Any) -> dict[str, Any]:
    """What a token endpoint gives."""
    found = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
    return found | {"expires_in": 300} | more


@contextmanager
def serving() -> Iterator[Provider]:
    """One that runs in threads of its own."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*provider.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*provider.post(self.path, form))

        def _answer(self, status: int, said: Any) -> None:
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(LOOK_S,))
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
