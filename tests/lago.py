"""A stand-in for Lago on a real socket: it checks every request, keeps books, and can misbehave.

As a program: `python -m tests.lago --port 3000 [--misbehave SEED]`. Beside the contract it answers
`GET /_state`, `GET /_events` and `POST /_behaviour`.
"""

import argparse
import asyncio
import json
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pytest
from aiohttp import web

from tests import lago_contract as contract
from tests import lago_keys as keys
from tests.lago_store import Json, Store

KEY = "lago-key-that-opens-nothing"
PREFIX = "/api/v1"
START_S = 5.0
STOP_S = 10.0
DRAIN_S = 0.01
MOST_EVENTS = 100
BODY_BYTES = 16 * 1024 * 1024

# What may happen to a batch instead of an answer.
HANG_UP = "hang up after accepting"
HOLD = "say nothing after accepting"
HALF = "hang up after accepting half of it"
NOT_JSON = "answer something that is no JSON"
EMPTY = "acknowledge nothing"
LIMIT = "429"
AWAY = "503"
BROKEN = "500"
REFUSE = "refuse the first of the batch, by its index"
MISDEEDS = (HANG_UP, HALF, NOT_JSON, EMPTY, LIMIT, AWAY, BROKEN)


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """How it treats batches of events."""

    script: deque[str] = field(default_factory=deque)  # for the next ones, in their order
    poison: set[str] = field(default_factory=set)  # a batch with one of these is answered 500
    refused: dict[str, Any] = field(default_factory=dict)  # transaction id to error details
    seed: int | None = None  # misbehave by chance
    chance: float = 0.4
    deeds: tuple[str, ...] = MISDEEDS  # of which chance takes one
    limit_headers: dict[str, str] = field(default_factory=lambda: {"x-ratelimit-reset": "0"})
    bad_customers: set[str] = field(default_factory=set)  # by external id
    always: str = ""  # for every request


class Lago:
    """Runs in a thread of its own. What breaks the contract is refused and stands in `faults`."""

    def __init__(self, *, keeps: str = "postgres", port: int = 0, seed: int | None = None) -> None:
        self.store = Store(keeps=keeps)
        self.behaviour = Behaviour(seed=seed)
        self.faults: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.url = ""
        self.held = threading.Event()  # a batch was accepted and its answer is held back
        self._chance = random.Random(seed)
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def ids(self) -> list[str]:
        """The transaction ids of all events, as often as each is there."""
        return [event["transaction_id"] for event in self.store.events]

    def asked(self, method: str, path: str) -> int:
        """How often this was asked."""
        return self.requests.count((method, path))

    def start(self) -> Self:
        self._thread.start()
        assert self._ready.wait(START_S), "the stand-in for Lago did not start"
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_S)
            assert not self._thread.is_alive(), "the stand-in for Lago did not stop"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    # From here on, everything runs in its own thread.

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_get("/_events", self._events)
        app.router.add_get("/_state", self._state)
        app.router.add_post("/_behaviour", self._behave)
        app.router.add_route("*", PREFIX + "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=DRAIN_S
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _events(self, http: web.Request) -> web.Response:
        return web.json_response(self.store.events)

    async def _state(self, http: web.Request) -> web.Response:
        return web.json_response(
            {
                "events": len(self.store.events),
                "faults": self.faults,
                "asked": len(self.requests),
                "held": self.held.is_set(),
            }
        )

    async def _behave(self, http: web.Request) -> web.Response:
        given = await http.json()
        kinds: dict[str, Callable[[Any], Any]] = {
            "script": deque,
            "poison": set,
            "bad_customers": set,
            "deeds": tuple,
        }
        self.behaviour = Behaviour(**{k: kinds.get(k, lambda v: v)(v) for k, v in given.items()})
        self._chance = random.Random(self.behaviour.seed)
        self.held.clear()
        return web.json_response({})

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        path = http.path.removeprefix(PREFIX)
        raw = await http.read()
        body = json.loads(raw) if raw else None
        self.requests.append((http.method, path))
        if http.headers.get("authorization") != f"Bearer {KEY}":
            return self._answer(http.method, path, 401, {"status": 401, "error": "Unauthorized"})
        wrong = contract.request_faults(http.method, path, http.query, body)
        if wrong:
            self.faults += [f"{http.method} {path}: {fault}" for fault in wrong]
            return web.json_response({"status": 400, "error": "; ".join(wrong)}, status=400)
        if self.behaviour.always:
            return await self._misbehave(self.behaviour.always, http, body or {"events": []})
        if (http.method, path) == ("POST", "/events/batch"):
            assert body is not None  # the contract asks for one
            self.bodies.append(body)
            return await self._batch(http, body)
        if path == "/webhooks/public_key":
            return web.Response(text=keys.public_key())
        status, answer = self._look(http.method, path, dict(http.query), body)
        return self._answer(http.method, path, status, answer)

    async def _batch(self, http: web.Request, body: Json) -> web.StreamResponse:
        events = body["events"]
        if not 0 < len(events) <= MOST_EVENTS:
            why = "no_events" if not events else "too_many_events"
            return self._refused({"events": [why]})
        deed = self.behaviour.script.popleft() if self.behaviour.script else self._by_chance()
        if self.behaviour.poison & {event["transaction_id"] for event in events}:
            deed = BROKEN
        if deed in {LIMIT, AWAY, BROKEN, NOT_JSON, EMPTY}:
            return await self._misbehave(deed, http, body)
        wrong = self.store.faults_of(events, self.behaviour.refused)
        if deed == REFUSE:
            wrong.setdefault("0", {"timestamp": ["invalid_format"]})
        if wrong:
            return self._refused(wrong)
        taken = events[: len(events) // 2] if deed == HALF else events
        stored = [self.store.add(event) for event in taken]
        if deed in {HANG_UP, HOLD, HALF}:
            return await self._misbehave(deed, http, body)
        return self._answer("POST", "/events/batch", 200, {"events": stored})

    def _by_chance(self) -> str:
        if self.behaviour.seed is None or self._chance.random() > self.behaviour.chance:
            return ""
        return self._chance.choice(self.behaviour.deeds)

    async def _misbehave(self, deed: str, http: web.Request, body: Json) -> web.StreamResponse:
        if deed == NOT_JSON:
            return web.Response(text="<html>welcome</html>", content_type="text/html")
        if deed == EMPTY:
            return web.json_response({"events": []})
        if deed == LIMIT:
            limited = {"status": 429, "error": "Too Many Requests"}
            return web.json_response(limited, status=429, headers=self.behaviour.limit_headers)
        if deed in {AWAY, BROKEN}:
            return web.json_response({"status": int(deed), "error": "Oh no"}, status=int(deed))
        if deed == HOLD:
            self.held.set()
            await self._stop.wait()
        if http.transport is not None:
            http.transport.close()
        return web.Response()

    def _refused(self, details: Json) -> web.Response:
        return self._answer("POST", "/events/batch", 422, _unprocessable(details))

    def _answer(self, method: str, path: str, status: int, body: Json) -> web.Response:
        shown = {**body, "events": body["events"][:2]} if "events" in body else body
        for fault in contract.answer_faults(method, path, status, shown):
            self.faults.append(f"the stand-in's own answer to {method} {path}: {fault}")
        return web.json_response(body, status=status)

    def _look(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Json]:
        """What is neither a batch of events nor a key."""
        store, kind, *rest = self.store, *path.strip("/").split("/")
        places: dict[str, tuple[str, dict[str, Json]]] = {
            "customers": ("customer", store.customers),
            "billable_metrics": ("billable_metric", store.metrics),
            "plans": ("plan", store.plans),
            "subscriptions": ("subscription", store.subscriptions),
        }
        if kind == "events":
            return self._one(rest[0]) if rest else (200, store.page(query))
        name, kept = places[kind]
        if rest[1:] == ["current_usage"]:
            known = query["external_subscription_id"] in store.subscriptions
            usage = store.usage(rest[0], query["external_subscription_id"]) if known else None
            return (200, {"customer_usage": usage}) if known else _missing("subscription")
        if method == "GET":
            return (200, {name: kept[rest[0]]}) if rest[0] in kept else _missing(name)
        if rest[1:] == ["charges"]:
            charge = store.charge(body["charge"])
            kept[rest[0]]["charges"].append(charge)
            return 200, {"charge": charge}
        if body[name].get("external_id") in self.behaviour.bad_customers:
            return 422, _unprocessable({"name": ["value_is_too_long"]})
        return 200, {name: self._put(kind, rest, body[name])}

    def _one(self, transaction_id: str) -> tuple[int, Json]:
        found = next((e for e in self.store.events if e["transaction_id"] == transaction_id), None)
        return (200, {"event": found}) if found else _missing("event")

    def _put(self, kind: str, rest: list[str], given: Json) -> Json:
        match kind:
            case "customers":
                return self.store.put_customer(given)
            case "billable_metrics":
                return self.store.put_metric(rest[0] if rest else given["code"], given)
            case "plans":
                return self.store.put_plan(rest[0] if rest else given["code"], given)
        return self.store.put_subscription(given)


def _unprocessable(details: Json) -> Json:
    return {
        "status": 422,
        "error": "Unprocessable Entity",
        "code": "validation_errors",
        "error_details": details,
    }


def _missing(name: str) -> tuple[int, Json]:
    return 404, {"status": 404, "error": "Not Found", "code": f"{name}_not_found"}


@pytest.fixture(params=["postgres"])
def lago(request: pytest.FixtureRequest, settings: Any) -> Iterator[Lago]:
    """A stand-in that the settings lead to; a request that breaks the contract fails the test."""
    with Lago(keeps=request.param) as running:
        settings.LAGO_API_URL, settings.LAGO_API_KEY = running.url, KEY
        yield running
    assert running.faults == [], str(running.faults[:3])


def main(arguments: Iterable[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m tests.lago")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keeps", choices=["postgres", "clickhouse"], default="postgres")
    parser.add_argument("--misbehave", type=int, metavar="SEED")
    given = parser.parse_args(list(arguments) if arguments is not None else None)
    running = Lago(keeps=given.keeps, port=given.port, seed=given.misbehave).start()
    print(f"{running.url} {KEY}", flush=True)  # noqa: T201  (a program: this is its output)
    threading.Event().wait()


if __name__ == "__main__":
    main()
