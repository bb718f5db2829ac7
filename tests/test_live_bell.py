"""The bell of the admin's live page: it rings for staff who may look, and for nobody else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from billing.tests.admin import staff
from mcp import bell
from opscenter import live_bell
from opscenter.live import BELL
from opscenter.live_bell import CHANGED, OVER
from tests.gateway import Gateway
from tests.polling import machine_of

pytestmark = pytest.mark.usefixtures("transactional_db")


def cookies(browser: Client) -> str:
    return "; ".join(f"{name}={one.value}" for name, one in browser.cookies.items())


@contextmanager
def listening(url: str, browser: Client | None, origin: str = "") -> Iterator[ClientConnection]:
    """An open socket, as the page in this browser opens it."""
    headers = {"Cookie": cookies(browser)} if browser else {}
    address = url.replace("http", "ws", 1) + BELL
    with connect(
        address, origin=Origin(origin or url), additional_headers=headers, proxy=None
    ) as socket:
        yield socket


def refused(url: str, browser: Client | None, origin: str = "") -> int:
    with pytest.raises(InvalidStatus) as found, listening(url, browser, origin):
        pass
    return found.value.response.status_code


def test_it_rings_when_a_machine_comes(server: Gateway, key: str) -> None:
    with listening(server.url, staff("view_toolcall")) as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)  # nothing happened yet
        with machine_of(server.url, key) as machine:
            machine.hello()
            assert socket.recv(timeout=15) == CHANGED


def test_many_things_at_once_are_few_changes(server: Gateway, key: str) -> None:
    with listening(server.url, staff("view_toolcall")) as socket:
        with machine_of(server.url, key) as machine:
            for _ in range(40):
                machine.hello()
        rung = 0
        with pytest.raises(TimeoutError):
            while socket.recv(timeout=2):
                rung += 1
    assert 1 <= rung < 20


def test_nobody_else_is_let_in(server: Gateway, key: str) -> None:
    looker = staff("view_toolcall")
    assert refused(server.url, None) == 403
    assert refused(server.url, looker, origin="http://evil.example") == 403
    User.objects.filter(username="dora").update(is_staff=False)
    assert refused(server.url, looker) == 403
    User.objects.filter(username="dora").update(is_staff=True)
    User.objects.get(username="dora").user_permissions.clear()
    assert refused(server.url, looker) == 403
    looker.logout()
    assert refused(server.url, looker) == 403


async def test_it_ends_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_bell, "JUDGED_S", 0.1)  # a minute is long for a test
    looker = await sync_to_async(staff)("view_toolcall")
    headers = [(b"origin", b"http://127.0.0.1"), (b"cookie", cookies(looker).encode())]
    socket = WebsocketCommunicator(live_bell.application, BELL, headers=headers)
    assert (await socket.connect())[0]
    assert await socket.receive_nothing(timeout=0.5)  # it was judged, and is good
    await looker.alogout()
    assert await socket.receive_output(timeout=15) == {"type": "websocket.close", "code": OVER}
    await socket.wait()
    await bell.shutdown()
