"""The raw floor: the least that a gateway in Python with a client library can cost."""

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BACKLOG = 4096  # a thousand held streams connect within seconds
HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01"}


class Floor:
    """A bare ASGI application that passes a body on and the answer back, and knows nothing."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/v1/messages"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self._pass_on(await _body(receive), send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)  # the load itself is bounded
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _pass_on(self, body: bytes, send: Send) -> None:
        if self._session is None:
            raise RuntimeError("the server did not start the application's lifespan")
        async with self._session.post(self._url, data=body, headers=HEADERS) as answer:
            kind = answer.headers["content-type"].encode()
            headers = [(b"content-type", kind)]
            if not kind.startswith(b"text/event-stream"):
                whole = await answer.read()
                headers.append((b"content-length", b"%d" % len(whole)))
                await send(_start(answer.status, headers))
                await send({"type": "http.response.body", "body": whole})
                return
            await send(_start(answer.status, headers))
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvicorn.run(
        Floor(options.upstream),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        backlog=BACKLOG,
        access_log=False,
        log_level="warning",
    )
