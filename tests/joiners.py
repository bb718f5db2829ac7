"""Clients that ask for the same answer again, as Claude Code and the SDKs do."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from proxy.wire import message
from tests.gateway import Gateway
from tests.legality import check_stream
from tests.machine_work import BETA, BODY
from tests.upstream import MESSAGES

FALLBACK: dict[str, Any] = {
    "stream": False,
    "max_tokens": 64,
}  # what changes when a client gives streams up


@dataclass
class Heard:
    """What a client has heard of a stream."""

    response: httpx.Response
    chunks: AsyncIterator[bytes]
    told: bytearray = field(default_factory=bytearray)

    @property
    def request_id(self) -> str:
        return str(self.response.headers["request-id"])

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = bytes(self.told).decode().splitlines()
        data = (line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        return [json.loads(one) for one in data]

    async def begun(self) -> None:
        """Return when the first of it is here."""
        self.told += await anext(self.chunks)

    async def rest(self) -> bytes:
        """All of it, once it has ended as a stream must."""
        async for chunk in self.chunks:
            self.told += chunk
        check_stream(self.events)
        return bytes(self.told)


@asynccontextmanager
async def hearing(gateway: Gateway, session: str = "", **more: Any) -> AsyncIterator[Heard]:
    """A client of a stream, who leaves at the end of the block."""
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        client.stream(
            "POST",
            f"{gateway.url}{MESSAGES}",
            json=BODY | more | {"stream": True},
            headers=_headers(gateway, session),
        ) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield Heard(response, response.aiter_raw())


async def retried(
    gateway: Gateway, session: str = "", key: str = "", **more: Any
) -> httpx.Response:
    """The same in one piece."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        url = f"{gateway.url}{MESSAGES}"
        headers = _headers(gateway, session)
        if key:
            headers["authorization"] = f"Bearer {key}"
        return await client.post(url, json=BODY | more, headers=headers)


def message_of(heard: Heard) -> dict[str, Any]:
    """What its events spell."""
    return message.assemble(heard.events)


def content_of(heard: Heard) -> list[dict[str, Any]]:
    """The blocks of that message."""
    blocks: list[dict[str, Any]] = message_of(heard)["content"]
    return blocks


def _headers(gateway: Gateway, session: str) -> dict[str, str]:
    named = {"x-claude-code-session-id": session} if session else {}
    return gateway.headers | {"anthropic-beta": BETA} | named
