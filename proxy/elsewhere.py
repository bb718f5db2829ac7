"""An answer that another process gives, or gave, read from its rows."""

import asyncio
import time
from collections import deque
from dataclasses import replace
from typing import Self

import msgspec
from django.conf import settings

from accounts.reads import DatabaseAwayError
from billing import workers
from proxy import errors, given
from proxy.answer import Answer
from proxy.given import BROKEN_OFF, BrokenOffError, Claim, State
from proxy.story import EVENTS
from proxy.wire.stream import event

POLL_S = 0.2  # between two looks
FOLLOW_S = settings.LINGER_S / 4  # between two signs that somebody listens; some may be late
DEAD_S = 2.4 * workers.BEAT_S  # without a beat, by our own looking: two were lost


class Elsewhere:
    """Its events, as far as they are written, until it has ended."""

    def __init__(self, claim: Claim) -> None:
        self.answer = Answer(status=200, content_type=EVENTS)
        self.has_effects = False
        self._claim = claim
        self._state: str = State.RUNNING
        self._parts: deque[bytes] = deque()
        self._next = 0  # number of the next part
        self._is_over = False
        self._beat: int | None = None
        self._moved_at = time.monotonic()  # its process's beat
        self._followed_at = -FOLLOW_S

    async def begin(self) -> bool:
        """Wait until it has begun. False: it has broken off, and may be begun anew.

        Raises BrokenOffError where it must not, and DatabaseAwayError.
        """
        await self._look()
        while self._state == State.RUNNING and not self._parts:
            await asyncio.sleep(POLL_S)
            await self._look()
        if self._state == State.BROKEN or not self._parts:
            if self.has_effects:
                raise BrokenOffError(BROKEN_OFF)
            return False
        headers = msgspec.json.decode(self._parts.popleft(), type=dict[str, str])
        self.answer = replace(self.answer, headers=headers)
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._is_over:
                raise StopAsyncIteration
            if self._state == State.RUNNING:
                await asyncio.sleep(POLL_S)
            await self._look_on()
        return self._parts.popleft()

    async def aclose(self) -> None:
        """Nothing runs here."""

    async def _look_on(self) -> None:
        """The next parts; at the end of one that broke off, words that say so."""
        try:
            await self._look()
        except DatabaseAwayError as away:
            self._state = State.BROKEN
            self._parts.append(last_words(away))
        if self._state != State.RUNNING and not self._parts:
            self._is_over = True
            if self._state == State.BROKEN:
                self._parts.append(last_words(BrokenOffError(BROKEN_OFF)))

    async def _look(self) -> None:
        now_s = time.monotonic()
        is_dead = now_s - self._moved_at >= DEAD_S
        try:
            found = await given.look(self._claim, self._next)
        except DatabaseAwayError:
            if is_dead:
                raise
            return  # it may be back before we give it up
        if found is None:  # it was taken over, or deleted
            self._state = State.BROKEN
            return
        self._state, self.has_effects = found.state, found.has_effects
        self._parts.extend(found.parts)
        self._next += len(found.parts)
        has_beaten = found.beat is not None and found.beat != self._beat  # None: it is forgotten
        if has_beaten or found.parts:
            self._beat, self._moved_at = found.beat, now_s
        elif found.state == State.RUNNING and is_dead:
            given.end(self._claim, State.BROKEN)
        if found.state == State.RUNNING and now_s - self._followed_at >= FOLLOW_S:
            self._followed_at = now_s
            given.follow(self._claim)


def last_words(error: Exception) -> bytes:
    """The end of a stream that cannot go on."""
    kind, text = errors.words_of(error)
    return event("error", {"error": {"type": kind, "message": text}})
