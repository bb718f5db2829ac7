"""A scripted gateway on a real socket: both transports, the life of calls, and faults on demand."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from opscenter_connector import frames
from tests.rows import Queue

KEY = "sk-uc-test"


class Gateway(Queue):
    """Its address and its doors."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.server: uvicorn.Server
        self.sessions: list[str] = []  # transport of each
        self.headers: list[Any] = []
        self._requests = 0

    async def websocket(self, socket_: WebSocket) -> None:
        self.headers.append(socket_.headers)
        if self.faults.upgrade:
            await socket_.send_denial_response(_refusal(self.faults.upgrade, self.faults.by_proxy))
            return
        await socket_.accept()
        if self.faults.close:
            code, self.faults.close = self.faults.close, 0
            await socket_.close(code, "closed by the test")
            return
        self.sockets.add(socket_)
        lock = asyncio.Lock()
        try:
            await self._serve(socket_, lock)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.sockets.discard(socket_)

    async def _serve(self, socket_: WebSocket, lock: asyncio.Lock) -> None:
        text = await socket_.receive_text()
        welcome = self.take(text)
        if self.faults.swallow_welcome:
            await socket_.receive_text()
        if self.faults.greeting:
            await socket_.send_text(self.faults.greeting)
        self.sessions.append("websocket")
        instance, epoch = json.loads(text)["instance"], frames_epoch(welcome)
        await _send(socket_, welcome, lock)
        if self.faults.cut_always:
            self._abort(socket_)
            return
        if self.faults.freeze:
            self._transport(socket_).pause_reading()
        pusher = asyncio.ensure_future(self._push(socket_, lock, instance, epoch))
        try:
            while True:
                text = await socket_.receive_text()
                answers = self.take(text)
                if self.faults.cut_after and f'"{self.faults.cut_after}"' in text[:40]:
                    self.faults.cut_after = ""
                    self._abort(socket_)
                    return
                await _send(socket_, answers, lock)
        finally:
            pusher.cancel()

    async def _push(
        self, socket_: WebSocket, lock: asyncio.Lock, instance: str, epoch: int
    ) -> None:
        told: set[str] = set()
        while True:
            await self.until_due(lambda: self.epochs[instance] != epoch, told)
            if self.epochs[instance] != epoch:
                await socket_.close(4409, "a newer session of this machine is there")
                return
            await _send(socket_, _new(self.due(), told), lock)

    def _transport(self, socket_: WebSocket) -> Any:
        """What uvicorn does not show: the connection underneath."""
        peer = socket_.client
        assert peer is not None
        for connection in self.server.server_state.connections:
            transport: Any = connection.transport
            if transport.get_extra_info("peername") == tuple(peer):
                return transport
        raise LookupError(peer)

    def _abort(self, socket_: WebSocket) -> None:
        """Cut it without a word, as a dying network does."""
        self._transport(socket_).abort()

    async def poll(self, request: Request) -> Response:
        return await self._request(request, wait=True)

    async def submit_door(self, request: Request) -> Response:
        return await self._request(request, wait=False)

    async def _request(self, request: Request, *, wait: bool) -> Response:
        self.headers.append(request.headers)
        if self.faults.poll:
            return _refusal(self.faults.poll, self.faults.by_proxy)
        body = await request.json()
        instance = body["instance"]
        if "epoch" not in body:
            self.sessions.append("polling")
        elif body["epoch"] != self.epochs[instance]:
            return _refusal(409, by_proxy=False)
        answers = [answer for said in body["frames"] for answer in self.take(said)]
        epoch = self.epochs[instance]
        if wait and body["wait_ms"] and not answers:
            self._requests += 1
            mine = self._requests
            superseded = lambda: self._requests != mine or self.epochs[instance] != epoch  # noqa: E731
            with anyio.move_on_after(body["wait_ms"] / 1000):
                await self.until_due(superseded, set())
            if self.epochs[instance] != epoch:
                return _refusal(409, by_proxy=False)
            answers = self.due() if self._requests == mine else []
        return JSONResponse({"epoch": epoch, "frames": [frames.to_wire(one) for one in answers]})


def frames_epoch(welcome: list[frames.FromGateway]) -> int:
    return next(frame.epoch for frame in welcome if isinstance(frame, frames.Welcome))


def _new(due: list[frames.FromGateway], told: set[str]) -> list[frames.FromGateway]:
    """A cancellation is said once in a session; calls whenever they are handed out."""
    new = [one for one in due if not (isinstance(one, frames.Cancel) and one.id in told)]
    told.update(one.id for one in due if isinstance(one, frames.Cancel))
    return new


def _refusal(status: int, by_proxy: bool) -> Response:
    if by_proxy:
        return PlainTextResponse("<html>no</html>", status)
    said = {"type": "error", "error": {"type": "x", "message": f"refused with {status}"}}
    return JSONResponse(said, status)


async def _send(socket_: WebSocket, said: list[frames.FromGateway], lock: asyncio.Lock) -> None:
    async with lock:
        for frame in said:
            await socket_.send_text(frames.encode(frame))


@asynccontextmanager
async def running() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    app = Starlette(
        routes=[
            WebSocketRoute("/api/mcp/ws/{user_id}", gateway.websocket),
            Route("/api/mcp/poll", gateway.poll, methods=["POST"]),
            Route("/api/mcp/submit", gateway.submit_door, methods=["POST"]),
        ]
    )
    # With the protocol said, asyncio sends at once what it is given (TCP_NODELAY).
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    gateway.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        app, log_level="error", ws="websockets-sansio", lifespan="off", timeout_graceful_shutdown=1
    )
    server = gateway.server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield gateway
    finally:
        server.should_exit = True
        await serving
