"""A machine that polls, spelled out: what a connector sends, and nothing of its own."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

READ: dict[str, Any] = {
    "name": "read",
    "inputSchema": {"type": "object"},
    "annotations": {"readOnlyHint": True},
}
WRITE: dict[str, Any] = {"name": "write", "inputSchema": {"type": "object"}}

Frame = dict[str, Any]


class Machine:
    """One instance of a connector, over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.instance = str(uuid.uuid4())
        self.epoch: int | None = None

    def post(self, door: str, *frames: Frame, **more: Any) -> httpx.Response:
        """The request as it is; a `None` in `more` leaves the member out."""
        body = {"instance": self.instance, "epoch": self.epoch, "frames": frames} | more
        body = {name: value for name, value in body.items() if value is not None}
        return self.client.post(f"/api/mcp/{door}", content=json.dumps(body))

    def poll(self, *frames: Frame, wait_ms: int = 0) -> list[Frame]:
        return self._told(self.post("poll", *frames, wait_ms=wait_ms))

    def submit(self, *frames: Frame) -> list[Frame]:
        return self._told(self.post("submit", *frames))

    def hello(self, **more: Any) -> Frame:
        """Open a session; its welcome."""
        self.epoch = None
        hello = {"type": "hello", "v": 1, "instance": self.instance, "name": "laptop"}
        (welcome,) = self.submit(hello | more)
        return welcome

    def front(self, name: str = "files", *tools: Frame) -> None:
        """Open a session and say that a server is there."""
        self.hello()
        server = {
            "name": name,
            "transport": "stdio",
            "state": "ready",
            "tools": tools or (READ, WRITE),
        }
        assert self.submit({"type": "server", "server": server}) == []
        assert self.submit({"type": "ready", "servers": [name]}) == []

    def begin(self, wait_ms: int = 10_000) -> Frame:
        """Wait for a call, and begin it."""
        (call,) = self.poll(wait_ms=wait_ms)
        assert call["type"] == "call"
        (started,) = self.submit(of(call, "start"))
        assert started["type"] == "started"
        return call

    def answer(self, call: Frame, text: str = "done") -> str:
        """Hand in a result; the verdict."""
        result = {"content": [{"type": "text", "text": text}]}
        (ack,) = self.submit(of(call, "result", outcome="done", result=result))
        return str(ack["verdict"])

    def _told(self, answer: httpx.Response) -> list[Frame]:
        assert answer.status_code == 200, answer.text
        told = answer.json()
        self.epoch = told["epoch"]
        frames: list[Frame] = told["frames"]
        return frames


def of(call: Frame, kind: str, **more: Any) -> Frame:
    """A frame about this call."""
    return {"type": kind, "id": call["id"], "fence": call["fence"]} | more


def kinds(frames: Sequence[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


@contextmanager
def machine_of(url: str, key: str) -> Iterator[Machine]:
    """A machine of the key's owner."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with httpx.Client(base_url=url, headers=headers, timeout=40, trust_env=False) as client:
        yield Machine(client)
