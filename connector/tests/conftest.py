"""A gateway, and connectors that run as a person would start them, but in this process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from opscenter_connector import backoff, choosing, program
from opscenter_connector.endings import Ending
from opscenter_connector.happenings import Happening
from opscenter_connector.policing.admission import Desk
from opscenter_connector.settings import ServerSpec, Settings, Transport
from tests.gateway import KEY, Gateway, running
from tests.rows import WITHIN_S

HERE = Path(__file__).parent


class Connector:
    """One that runs, and what it tells."""

    def __init__(self, settings: Settings, notes: Path, desk: Desk = program.NOBODY) -> None:
        self.settings = settings
        self.notes = notes
        self.told: list[Any] = []
        self._news = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(program.run(settings, self._hear, self._stop, desk))

    def _hear(self, happening: Happening) -> None:
        self.told.append(happening)
        self._news.set()

    async def heard(self, kind: type[Any], fits: Callable[[Any], bool] = lambda _: True) -> Any:
        with anyio.fail_after(WITHIN_S):
            while not (found := [one for one in self.told if isinstance(one, kind) and fits(one)]):
                self._news.clear()
                await self._news.wait()
        return found[-1]

    async def ended(self) -> Ending:
        with anyio.fail_after(WITHIN_S):
            return await self._task

    async def stop(self) -> Ending:
        self._stop.set()
        return await self.ended()

    async def kill(self) -> None:
        """As by a signal that cannot be handled: nothing is said any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def ran(self, line: str) -> int:
        """How often a tool has really done that."""
        return self.notes.read_text().split("\n").count(line) if self.notes.exists() else 0

    @property
    def journal(self) -> str:
        return (self.settings.state_dir / "journal.jsonl").read_text()

    async def noted(self, line: str) -> None:
        with anyio.fail_after(WITHIN_S):
            while not self.ran(line):  # noqa: ASYNC110 - another process's file has no event
                await asyncio.sleep(0.02)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running() as one:
        yield one


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses: test_backoff.py alone is about those that users get, and takes them back."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.02)
    monkeypatch.setattr(backoff, "MOST_S", 0.5)
    monkeypatch.setattr(choosing, "AWAY_MOST_S", 0.5)
    monkeypatch.setattr(choosing, "CLIMB_FIRST_S", 0.2)


@pytest.fixture
async def start(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Callable[..., Connector]]:
    started: list[Connector] = []

    def one(transport: str = "websocket", **given: Any) -> Connector:
        notes = tmp_path / "notes"
        desk = given.pop("desk", program.NOBODY)
        echo = ServerSpec(
            name="echo",
            command=sys.executable,
            args=("-m", "tests.legacy_server"),
            cwd=HERE.parent,
            env={"ECHO_NOTES": str(notes)},
        )
        settings: dict[str, Any] = {
            "api_url": gateway.url,
            "api_key": KEY,
            "name": "laptop",
            "state_dir": tmp_path / "state",
            "servers": (echo,),
            "transport": Transport(transport),
        }
        connector = Connector(Settings(**settings | given), notes, desk)
        started.append(connector)
        return connector

    yield one
    for connector in started:
        await connector.kill()
