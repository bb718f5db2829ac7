"""Requests as a client sends them, and the ledger's rows of them."""

import json
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx

from billing.models import UsageRecord
from tests import gateway as gateways
from tests.gateway import Gateway

BODY: dict[str, Any] = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": []}


def ask(client: httpx.Client, session: str = "", **body: Any) -> httpx.Response:
    """One request that is not streamed, of a session or of none."""
    headers = {"x-claude-code-session-id": session} if session else {}
    return client.post("/v1/messages", json=BODY | body, headers=headers)


def stream(client: httpx.Client, **body: Any) -> AbstractContextManager[httpx.Response]:
    """One request whose answer is streamed."""
    return client.stream("POST", "/v1/messages", json=BODY | body | {"stream": True})


def another_client(gateway: Gateway, url: str = "", key: str = "") -> httpx.Client:
    """A client with connections of its own, of this gateway or of another one at `url`."""
    headers = gateway.headers | ({"authorization": f"Bearer {key}"} if key else {})
    return httpx.Client(base_url=url or gateway.url, headers=headers, timeout=30, trust_env=False)


@contextmanager
def asking_to_leave(gateway: Gateway) -> Iterator[None]:
    """A streamed request whose client hangs up at the end of the block."""
    body = json.dumps(BODY | {"stream": True}).encode()
    head = {"host": "localhost", "content-type": "application/json", **gateway.headers}
    lines = [
        "POST /v1/messages HTTP/1.1",
        *(f"{name}: {value}" for name, value in head.items()),
        f"content-length: {len(body)}",
    ]
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        yield


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and error type of a refusal in the API's shape."""
    body = response.json()
    assert body["type"] == "error", body
    return response.status_code, body["error"]["type"]


def rows(count: int, **wanted: object) -> list[UsageRecord]:
    """The ledger's rows, oldest first, once `count` of them are closed."""

    def found() -> list[UsageRecord] | None:
        closed = UsageRecord.objects.filter(closed_at__isnull=False, **wanted)
        listed = list(closed.order_by("admitted_at"))
        return listed if len(listed) >= count else None

    listed = gateways.eventually(found)
    assert len(listed) == count
    return listed
