"""A machine that polls a running gateway: calls reach it, results come back, nothing is lost."""

import json
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from accounts.principal import MESSAGES
from accounts.tests.people import Person
from mcp.models import Connector, ToolCall
from tests.gateway import Gateway, eventually
from tests.polling import Machine, kinds, machine_of, of

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def here(server: Gateway, key: str) -> Iterator[Machine]:
    """Alice's laptop, with the server `files`."""
    with machine_of(server.url, key) as machine:
        machine.front()
        yield machine


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Where a request waits while the test goes on."""
    with ThreadPoolExecutor(8) as threads:
        yield threads


def execute(machine: Machine, tool: str = "read", **more: Any) -> httpx.Response:
    body = {"server": "files", "tool": tool, "arguments": {"path": "/x"}} | more
    return machine.client.post("/api/mcp/execute", content=json.dumps(body))


def state_of(call_id: str) -> str:
    return ToolCall.objects.values_list("state", flat=True).get(id=call_id)


def test_it_runs_a_tool_on_a_machine_that_polls(here: Machine, aside: ThreadPoolExecutor) -> None:
    waiting = aside.submit(execute, here)
    call = here.begin()
    assert (call["server"], call["method"], call["has_effects"]) == ("files", "tools/call", False)
    assert call["params"] == {"name": "read", "arguments": {"path": "/x"}}
    assert here.answer(call, "hello") == "accepted"
    assert here.answer(call, "hello") == "duplicate"
    answer = waiting.result(10)
    assert answer.status_code == 200
    assert answer.json() == {
        "call_id": call["id"],
        "state": "succeeded",
        "is_error": False,
        "result": {"content": [{"type": "text", "text": "hello"}]},
    }
    shown = here.client.get(f"/api/mcp/calls/{call['id']}").json()
    assert shown["result"] == answer.json()["result"]


def test_it_wakes_an_open_poll(here: Machine, aside: ThreadPoolExecutor) -> None:
    polling = aside.submit(here.poll, wait_ms=20_000)
    eventually(lambda: Connector.objects.filter(last_seen_at__isnull=False).exists() or None)
    began = time.monotonic()
    assert execute(here, wait=False).status_code == 202
    assert kinds(polling.result(10)) == ["call"]
    assert time.monotonic() - began < 5  # far from the 20 s that the poll would have waited


def test_it_answers_a_poll_without_calls_after_its_wait(here: Machine) -> None:
    began = time.monotonic()
    assert here.poll(wait_ms=300) == []
    assert 0.25 < time.monotonic() - began < 10


def test_it_ends_a_poll_when_another_comes(here: Machine, aside: ThreadPoolExecutor) -> None:
    first = aside.submit(here.poll, wait_ms=25_000)

    def ended() -> list[Any] | None:
        here.poll(wait_ms=50)
        return [first.result()] if first.done() else None

    assert eventually(ended) == [[]]


def test_it_gives_no_call_to_a_poll_that_was_left(here: Machine, server: Gateway) -> None:
    body = json.dumps({"instance": here.instance, "epoch": here.epoch, "wait_ms": 25_000})
    head = (
        f"POST /api/mcp/poll HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        f"authorization: {here.client.headers['authorization']}\r\n\r\n"
    )
    seen = Connector.objects.get().last_seen_at
    with socket.create_connection(("127.0.0.1", server.port)) as left:
        left.sendall((head + body).encode())
        eventually(lambda: Connector.objects.exclude(last_seen_at=seen).exists() or None)
    began = time.monotonic()
    execute(here, wait=False)
    (call,) = here.poll(wait_ms=25_000)
    assert call["type"] == "call"
    assert time.monotonic() - began < 10  # not the 15 s of a lease that nobody holds


def test_it_stops_a_call_whose_caller_leaves(here: Machine, aside: ThreadPoolExecutor) -> None:
    with pytest.raises(httpx.ReadTimeout):
        here.client.post("/api/mcp/execute", json={"server": "files", "tool": "write"}, timeout=0.5)
    call = ToolCall.objects.get()
    eventually(lambda: state_of(str(call.id)) == "cancelled" or None)
    assert here.poll(wait_ms=0) == []


def test_it_tells_a_machine_to_stop(here: Machine, aside: ThreadPoolExecutor) -> None:
    call_id = execute(here, "write", wait=False).json()["call_id"]
    call = here.begin()
    polling = aside.submit(here.poll, wait_ms=20_000)
    told = here.client.post(f"/api/mcp/calls/{call_id}/cancel").json()
    assert told == {"call_id": call_id, "state": "running", "cancel_requested": True}
    assert kinds(polling.result(10)) == ["cancel"]
    (ack,) = here.submit(of(call, "result", outcome="cancelled"))
    assert ack["verdict"] == "accepted"
    assert state_of(call_id) == "cancelled"
    assert here.client.post(f"/api/mcp/calls/{call_id}/cancel").json()["state"] == "cancelled"


def test_a_newer_session_ends_the_older(here: Machine, aside: ThreadPoolExecutor) -> None:
    old = here.epoch
    polling: Future[httpx.Response] = aside.submit(here.post, "poll", wait_ms=25_000)
    here.hello()
    assert here.epoch == (old or 0) + 1
    assert polling.result(10).status_code == 409
    refused = here.post("submit", epoch=old)
    assert (refused.status_code, refused.json()["code"]) == (409, 4409)
    assert refused.headers["request-id"].startswith("req_")


def test_a_call_begun_in_one_session_ends_in_the_next(here: Machine) -> None:
    call_id = execute(here, "write", wait=False).json()["call_id"]
    call = here.begin()
    here.hello()
    assert here.answer(call) == "accepted"
    assert state_of(call_id) == "succeeded"


def test_a_session_ends_with_bye(here: Machine) -> None:
    assert here.submit({"type": "bye"}) == []
    assert Connector.objects.get().closed_at is not None
    again = here.post("poll")
    assert (again.status_code, again.json()["code"]) == (408, 4408)
    offline = execute(here)
    assert (offline.status_code, offline.json()["code"]) == (503, "offline")


def test_the_same_ids_are_the_same_call(here: Machine, aside: ThreadPoolExecutor) -> None:
    headers = {"idempotency-key": "k-1"}
    body: dict[str, Any] = {"server": "files", "tool": "write", "wait": False}

    def ask(**more: Any) -> httpx.Response:
        return here.client.post("/api/mcp/execute", json=body | more, headers=headers)

    first = ask().json()["call_id"]
    assert ask().json()["call_id"] == first
    assert ask(tool="read").status_code == 409
    here.answer(here.begin())
    assert ask(wait=True).json()["call_id"] == first
    assert ToolCall.objects.count() == 1


def test_a_full_queue_answers_at_once(here: Machine) -> None:
    call_ids = [execute(here, wait=False).json()["call_id"] for _ in range(64)]
    assert len(set(call_ids)) == 64
    refused = execute(here)
    assert refused.status_code == 429
    assert refused.json()["code"] == "queue_full"
    assert "64" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "1"


BAD_BODIES: list[tuple[Any, str]] = [
    ("", "Polling"),
    ("[]", "object"),
    ('{"user_id": "u1"}', "ops-connector --transport polling"),
    ('{"call_id": "call_1", "result": {}}', "ops-connector --transport polling"),
    ({"instance": "x"}, "instance"),
    ({"frames": [{"type": "dance"}]}, "frames[0]"),
    ({"frames": [{"type": "renew", "calls": []}, {"type": "renew"}]}, "frames[1]"),
    ({"frames": "x"}, "frames"),
    ({"frames": [1]}, "frames[0]"),
    ({"frames": [{"type": "renew", "calls": []}] * 65}, "frames"),
    ({"wait_ms": 30_001}, "wait_ms"),
    ({"wait_ms": -1}, "wait_ms"),
    ({"epoch": 0}, "epoch"),
    ({"epoch": 10**400}, "epoch"),
    ({"epoch": None}, "hello"),
    ("[" * 100_000, "Polling"),
    (b"\xff\xfe", "Polling"),
    ('{"instance":"\\ud800"}', "instance"),
]


@pytest.mark.parametrize("door", ["poll", "submit"])
@pytest.mark.parametrize("number", range(len(BAD_BODIES)))
def test_it_says_what_is_wrong_with_a_body(here: Machine, door: str, number: int) -> None:
    body, named = BAD_BODIES[number]
    if isinstance(body, dict):
        answer = here.post(door, **body)
    else:
        answer = here.client.post(f"/api/mcp/{door}", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 4400), answer.text
    assert named in answer.json()["detail"]
    assert here.submit({"type": "renew", "calls": []}) != []  # the session lives on


def test_it_handles_no_frame_of_a_body_with_a_bad_one(here: Machine) -> None:
    call_id = execute(here, "write", wait=False).json()["call_id"]
    (call,) = here.poll(wait_ms=5_000)
    assert here.post("submit", of(call, "start"), {"type": "dance"}).status_code == 400
    assert state_of(call_id) == "leased"


def test_it_refuses_a_hello_of_another_version_or_instance(here: Machine) -> None:
    hello = {"type": "hello", "v": 2, "instance": here.instance, "name": "laptop"}
    newer = here.post("submit", hello, epoch=None)
    assert (newer.status_code, newer.json()["code"]) == (406, 4406)
    other = here.post("submit", hello | {"v": 1, "instance": str(uuid.uuid4())}, epoch=None)
    assert (other.status_code, other.json()["code"]) == (400, 4400)


def test_it_bounds_a_body(here: Machine) -> None:
    large = here.client.post("/api/mcp/submit", content=b" " * (2 * 1024 * 1024 + 1))
    assert (large.status_code, large.json()["code"]) == (413, 4413)


def test_it_asks_who_is_there(here: Machine, alice: Person, charlies_key: str) -> None:
    url = str(here.client.base_url)
    for key, status in (("", 401), ("sk-uc-wrong", 401)):
        with httpx.Client(base_url=url, headers={"x-api-key": key}, trust_env=False) as stranger:
            for door in ("poll", "submit", "execute"):
                answer = stranger.post(f"/api/mcp/{door}", content="{}")
                assert answer.status_code == status, answer.text
                assert answer.json()["detail"]
    scopeless = alice.key("other", [MESSAGES])[1]
    with machine_of(url, scopeless) as other:
        for door in ("poll", "submit", "execute"):
            refused = other.client.post(f"/api/mcp/{door}", content="{}")
            assert refused.status_code == 403
            assert "mcp-callback" in refused.json()["detail"]
    with machine_of(url, charlies_key) as thief:
        thief.instance, thief.epoch = here.instance, here.epoch
        assert thief.post("poll").status_code == 408  # charlie has no such session
        assert execute(thief).status_code == 404
    assert here.client.get("/api/mcp/poll").status_code == 405
    assert here.client.options("/api/mcp/poll").status_code == 405
