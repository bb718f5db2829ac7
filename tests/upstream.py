"""A scripted Anthropic-format upstream on a real socket: it checks, records and answers as told."""

import asyncio
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from tests.answers import (
    HOLD_S,
    Answer,
    End,
    Endless,
    Gate,
    Later,
    Pause,
    Step,
    as_json,
    error,
    rendered,
    request_id,
)
from tests.catalog import MODEL_IDS, model_of, page_of
from tests.turns import MODEL, Turn, text_turn

START_S = 5.0  # binding a port takes milliseconds; more means the thread is dead
STOP_S = 10.0  # cancelled answers end at once
DRAIN_S = 0.01  # what answers under way get when the test is over; aiohttp reads 0 as for ever
WAIT_S = 10.0  # what a test waits unless it says otherwise: loopback is fast, build machines not
MAX_BODY_BYTES = 64 * 1024 * 1024  # twice what Anthropic takes, so that others are seen to refuse
MAX_ENDLESS_BYTES = 512 * 1024 * 1024  # who reads this much has no back-pressure; spare the memory

MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"
MODELS = "/v1/models"

COUNTED_TOKENS = 2095  # what every count_tokens answers


@dataclass(slots=True, kw_only=True)
class Request:
    """What arrived, byte for byte, and what became of its answer while it runs."""

    method: str
    path: str  # as on the wire, still quoted
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    bytes_sent: int = 0  # of the answer's body, handed to the socket or waiting for room in it
    hung_up: threading.Event = field(default_factory=threading.Event)  # by the client, too early
    finished: threading.Event = field(default_factory=threading.Event)  # either way

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def streaming(self) -> bool:
        return bool(self.json.get("stream"))

    def left(self, within_s: float = WAIT_S) -> bool:
        """Whether the client hung up before the answer was complete."""
        return self.hung_up.wait(within_s)


Responder = Callable[[Request], Answer | Turn]


class Upstream:
    """Runs in a thread and loop of its own, so that any test and any process can call it.

    `key` is the only credential it takes; None takes all. What must never be sent to Anthropic is
    refused and stands in `faults`, which fails the test at teardown.
    """

    def __init__(self, *, key: str | None = None) -> None:
        self.key = key
        self.url = ""
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self.model_ids: tuple[str, ...] = MODEL_IDS
        self._scripts: defaultdict[str, deque[Answer | Turn]] = defaultdict(deque)
        self._responder: Responder = lambda request: text_turn()
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def script(self, *answers: Answer | Turn, path: str = MESSAGES) -> None:
        """Queue answers for this path. A Turn is streamed or not, as the request asks."""
        self._scripts[path].extend(answers)

    def answer_by(self, responder: Responder) -> None:
        """Ask `responder` whenever no answer for a message is queued."""
        self._responder = responder

    def wait_for(self, count: int, within_s: float = WAIT_S) -> list[Request]:
        """The requests so far, once there are `count`."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.requests) >= count, within_s)
        assert enough, f"{len(self.requests)} of {count} requests arrived in {within_s} s"
        return list(self.requests)

    def sent_to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    # Starting and stopping.

    def start(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S), "the scripted upstream did not start"
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._stopping = True
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        assert not self._thread.is_alive(), "the scripted upstream did not stop"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # From here on, everything runs in the upstream's own thread.

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Without handler_cancellation a client that leaves would go unnoticed until the next write.
        runner = web.AppRunner(
            app,
            handler_cancellation=True,
            auto_decompress=False,  # bodies are recorded as they were sent
            access_log=None,
            shutdown_timeout=DRAIN_S,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        request = Request(
            method=http.method,
            path=http.rel_url.raw_path,
            query=http.rel_url.raw_query_string,
            headers=http.headers,
            body=await http.read(),
        )
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        try:
            return await self._play(self._choose(request), http, request)
        except (asyncio.CancelledError, ConnectionError):
            if not self._stopping:
                request.hung_up.set()
            raise
        except Exception as unexpected:  # a broken script is the test's fault and must be seen
            self.faults.append(f"{request.method} {request.path}: {unexpected!r}")
            raise
        finally:
            request.finished.set()

    def _choose(self, request: Request) -> Answer:
        if refused := self._refused(request):
            return refused
        if queued := self._scripts[request.path]:
            return self._rendered(queued.popleft(), request)
        if (request.method, request.path) == ("POST", MESSAGES):
            return self._rendered(self._responder(request), request)
        if (request.method, request.path) == ("POST", COUNT_TOKENS):
            return as_json({"input_tokens": COUNTED_TOKENS})
        if request.method == "GET" and request.path.startswith(MODELS):
            return self._models(request)
        return error(404, "not_found_error", f"{request.method} {request.path}")

    def _refused(self, request: Request) -> Answer | None:
        if fault := fault_of(request):
            self.faults.append(f"{request.method} {request.path}: {fault}")
            return error(400, "invalid_request_error", fault)
        sent = {request.headers.get("x-api-key"), request.headers.get("authorization")}
        if self.key is None or sent & {self.key, f"Bearer {self.key}"}:
            return None
        refusal = {"x-should-retry": "false"}
        return error(
            401, "authentication_error", "this upstream does not know the key", headers=refusal
        )

    def _rendered(self, answer: Answer | Turn, request: Request) -> Answer:
        if isinstance(answer, Answer):
            return answer
        model = request.json.get("model", MODEL)
        return rendered(answer, model=model, streaming=request.streaming)

    def _models(self, request: Request) -> Answer:
        wanted = request.path.removeprefix(MODELS).removeprefix("/")
        if not wanted:
            return as_json(page_of(self.model_ids, dict(parse_qsl(request.query))))
        if wanted in self.model_ids:
            return as_json(model_of(wanted))
        return error(404, "not_found_error", f"model: {wanted}")

    async def _play(
        self, answer: Answer, http: web.Request, request: Request
    ) -> web.StreamResponse:
        headers = {"request-id": request_id(), **answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = answer.length
        for step in answer.steps:
            if step is End.CUT:
                if http.transport is not None:
                    http.transport.close()  # what was written still goes out, nothing after it
                return response
            await self._take(step, http, response, request)
        await response.prepare(http)
        await response.write_eof()
        return response

    async def _take(
        self, step: Step, http: web.Request, response: web.StreamResponse, request: Request
    ) -> None:
        match step:
            case bytes():
                await response.prepare(http)
                request.bytes_sent += len(step)
                await response.write(step)
            case Later():
                await self._take(await step.say(), http, response, request)
            case Gate():
                await step.passed()
            case Pause():
                await asyncio.sleep(min(step.seconds, HOLD_S))
            case Endless():
                while request.bytes_sent < MAX_ENDLESS_BYTES:
                    await self._take(step.chunk, http, response, request)
                    await asyncio.sleep(0)  # a fast reader must not keep the loop from others
                raise TimeoutError("an endless answer was read to the end")
            case End():
                await asyncio.sleep(HOLD_S)
                raise TimeoutError("a client waited for a silent answer to the end")


def fault_of(request: Request) -> str | None:
    """Why Anthropic would not even look at this request."""
    if not request.path.startswith("/v1/"):
        return None
    if "anthropic-version" not in request.headers:
        return "anthropic-version: header is required"
    if request.method != "POST":
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return f"content-type: {request.headers.get('content-type')!r} is not application/json"
    try:
        parsed = request.json
    except ValueError:
        return "the request body is not valid JSON"
    return None if isinstance(parsed, dict) else "the request body is not a JSON object"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A scripted upstream that takes any credential. The test fails if it was sent a fault."""
    with Upstream() as server:
        yield server
    assert server.faults == []
