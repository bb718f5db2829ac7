"""Somebody at the desk, who looks when told to."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio

from opscenter_connector.policing.questions import Question
from tests.rows import WITHIN_S


class Person:
    """Sits at the desk. Looks when told to."""

    attended = True

    def __init__(self) -> None:
        self.shown: dict[str, Question] = {}
        self.seen: list[Question] = []
        self.news = asyncio.Event()
        self.answer: Callable[[str, str, bool], None]

    def serve(self, answered: Callable[[str, str, bool], None]) -> None:
        self.answer = answered

    def ask(self, question: Question) -> None:
        self.shown[question.id] = question
        self.seen.append(question)
        self.news.set()

    def settled(self, id_: str) -> None:
        self.shown.pop(id_, None)
        self.news.set()

    async def until(self, holds: Callable[[], Any]) -> None:
        with anyio.fail_after(WITHIN_S):
            while not holds():
                self.news.clear()
                await self.news.wait()

    async def sees(self, id_: str) -> Question:
        await self.until(lambda: id_ in self.shown)
        return self.shown[id_]
