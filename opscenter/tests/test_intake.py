"""What is kept of a body, and whose."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from accounts.auth import CredentialError
from opscenter import intake, lean
from proxy.errors import RefusedError

Scope = dict[str, Any]
MOST = 1024 * 1024  # more than any of these bodies
PART = b"x" * 10_000


def coming(parts: int) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    """A client that sends so many parts."""
    left = parts

    async def receive() -> Mapping[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": PART, "more_body": left > 0}

    return receive


async def dripped() -> Mapping[str, Any]:
    """A client that is never silent for long, and never done."""
    await asyncio.sleep(0.02)
    return {"type": "http.request", "body": b"x", "more_body": True}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "SMALL_BODY_S", 0.2)  # nobody wants to wait for twenty


@pytest.mark.usefixtures("soon")
async def test_it_waits_for_no_stranger_who_drips_a_body() -> None:
    with pytest.raises(RefusedError) as refused:
        await asyncio.wait_for(lean._body({"headers": []}, dripped, MOST), 30)
    assert refused.value.meaning.status == 408


@pytest.mark.usefixtures("soon")
async def test_it_waits_for_nobody_who_drips_a_body_to_a_page() -> None:
    async def page(*_: object) -> None:
        raise AssertionError("it has no body yet")

    said: list[Mapping[str, Any]] = []

    async def send(message: Mapping[str, Any]) -> None:
        said.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    await asyncio.wait_for(lean.within_bounds(page, scope, dripped, send), 30)
    assert said[0]["status"] == 408


async def test_it_keeps_a_small_body_of_who_shows_no_key_for_the_views_to_judge() -> None:
    scope: Scope = {"headers": []}
    assert await lean._body(scope, coming(2), MOST) == PART * 2
    assert isinstance(scope["caller"], CredentialError)


async def test_it_does_not_keep_a_large_body_of_who_shows_no_key() -> None:
    with pytest.raises(CredentialError):
        await lean._body({"headers": []}, coming(10), MOST)


async def test_it_reads_to_the_end_what_it_does_not_keep_so_that_the_answer_is_read() -> None:
    receive = coming(20)
    with pytest.raises(RefusedError, match="larger than 50000 bytes") as refused:
        await intake.read_body({"headers": []}, receive, limit=50_000)
    assert refused.value.meaning.status == 413
    assert (await receive())["more_body"] is False  # all twenty had been taken


async def test_it_does_not_wait_for_a_body_that_says_how_endless_it_is() -> None:
    async def receive() -> Mapping[str, Any]:
        raise AssertionError("nothing of it is read")

    scope: Scope = {"headers": [(b"content-length", b"1000000000000")]}
    with pytest.raises(RefusedError, match="larger than"):
        await intake.read_body(scope, receive, limit=1000)


async def test_it_gives_up_when_the_client_leaves_in_the_middle() -> None:
    async def receive() -> Mapping[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(intake.ClientLeftError):
        await intake.read_body({"headers": []}, receive, limit=1000)
