"""The terminal as the place where a person is asked: between event loop, keyboard and screen."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from opscenter_connector.policing.keyboard import Keyboard
from opscenter_connector.policing.prompt import Prompt
from opscenter_connector.policing.questions import Question


class Doer(Protocol):
    """Has things done on the thread that draws."""

    def do(self, action: Callable[[], None]) -> None: ...


class TerminalDesk:
    """Its prompt lives on the thread that draws, all else on the event loop."""

    attended = True

    def __init__(self, descriptor: int) -> None:
        self.prompt = Prompt(self._decided)
        self._keyboard = Keyboard(descriptor, self._pressed)
        self._open: set[str] = set()
        self._doer: Doer
        self._loop: asyncio.AbstractEventLoop
        self._answered: Callable[[str, str, bool], None]

    def told_by(self, doer: Doer) -> None:
        """Who draws."""
        self._doer = doer

    def __enter__(self) -> "TerminalDesk":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The terminal is left as it was found, whatever has happened."""
        self._keyboard.close()

    def serve(self, answered: Callable[[str, str, bool], None]) -> None:
        """Called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._answered = answered
        self._keyboard.serve()

    def ask(self, question: Question) -> None:
        """Show it, after those that wait."""
        self._open.add(question.id)
        self._doer.do(lambda: self.prompt.ask(question))
        self._keyboard.on()

    def settled(self, id_: str) -> None:
        """Take it away."""
        self._doer.do(lambda: self.prompt.settled(id_))
        self._closed(id_)

    def _closed(self, id_: str) -> None:
        self._open.discard(id_)
        if not self._open:
            self._keyboard.off()

    def _pressed(self, key: str) -> None:
        self._doer.do(lambda: self.prompt.key(key, now_s=time.monotonic()))

    def _decided(self, question: Question, approve: bool) -> None:
        """On the thread that draws."""

        def tell() -> None:
            self._closed(question.id)
            self._answered(question.id, question.digest, approve)

        with suppress(RuntimeError):  # the loop has ended: so has the question
            self._loop.call_soon_threadsafe(tell)
