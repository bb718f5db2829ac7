"""The bell between processes: rung through Redis, and heard again when Redis was away."""

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from channels.layers import channel_layers
from pytest_django import Settings

from mcp import bell
from mcp.bell import ENDED, Ear, Note
from tests import environment, gateway
from tests.real import redis
from tests.real.conftest import need

pytestmark = pytest.mark.real

HEARD_S = 20.0  # a layer looks for its Redis each second
CALL = uuid.uuid4()
NOTE = Note(kind=ENDED, body={})


# What an operator gets who sets OPSCENTER_REDIS_URL.
SETTINGS_SAID = """
import json
from opscenter import settings
print(json.dumps(settings.CHANNEL_LAYERS))
"""


def layers(port: int) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-c", SETTINGS_SAID],
        cwd=environment.ROOT,
        env=environment.child(
            OPSCENTER_REDIS_URL=f"redis://127.0.0.1:{port}/0",
            DJANGO_SETTINGS_MODULE="opscenter.settings",
        ),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(said.stdout)
    return found


@pytest.fixture
async def here(settings: Settings) -> AsyncIterator[Callable[[int], bell.Bell]]:
    """Makes a process's bell, for a port where Redis is or will be."""
    made: list[bell.Bell] = []

    def make(port: int) -> bell.Bell:
        settings.CHANNEL_LAYERS = layers(port)
        one = bell.Bell(asyncio.get_running_loop())
        one.connect()
        made.append(one)
        return one

    yield make
    for one in made:
        await one.close()
    await channel_layers["default"].flush()


async def test_it_is_heard_again_after_redis_was_killed(here: Callable[[int], bell.Bell]) -> None:
    need("redis-server")
    with redis.running() as first:
        ear = here(first.port).of_call(CALL).start()
        await rung_until_heard(ear)
        first.kill()
        with redis.running(first.port):
            await rung_until_heard(ear)


async def test_it_is_heard_where_redis_starts_after_the_gateway(
    here: Callable[[int], bell.Bell],
) -> None:
    need("redis-server")
    port = gateway.free_port()
    bell_here = here(port)
    ear = bell_here.of_call(CALL).start()
    await asyncio.sleep(2 * bell.REST_S)  # it has tried, and has not found one
    with redis.running(port):
        await rung_until_heard(ear)


async def rung_until_heard(ear: Ear) -> None:
    """As another process rings: again and again, for it does not know either."""
    other: Any = channel_layers.make_backend("default")
    ring = {"topic": "call", "id": CALL.hex, "kind": ENDED, "body": {}}
    message = {"type": "rings", "from": "another process", "rings": [ring]}
    async with asyncio.timeout(HEARD_S):
        while NOTE not in await ear.wait(0.2):
            with suppress(Exception):
                await other.group_send(bell.GROUP, message)
    await other.flush()
