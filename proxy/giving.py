"""One answer, given by a task of its own to all who ask for it while it lasts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Protocol, Self

from django.conf import settings

from accounts.reads import DatabaseAwayError
from proxy import errors, given
from proxy.answer import Answer
from proxy.elsewhere import Elsewhere, last_words
from proxy.given import Claim, Copy, State
from proxy.recording import Budget, Listener, Recording

log = logging.getLogger(__name__)

_ERROR = b"event: error\n"


class Stream(Protocol):
    """Blocks of whole events for the client."""

    answer: Answer

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None:
        """The end, whichever it was. Safe to call again."""


class Given:
    """An answer that is given here, or heard of another process, and what is told of it.

    `give` begins it; `has_ended` is called at its end with whether a retry may hear it again.
    """

    def __init__(
        self,
        claim: Claim,
        budget: Budget,
        give: "Give",
        has_ended: "Callable[[Given, bool], None]",
    ) -> None:
        self.claim = claim
        self.said: dict[str, str] = {}  # headers that it has, whatever becomes of it
        self.answer = Answer(status=200)  # its head, once it has begun
        self.has_effects = False  # something was begun that must not be done twice
        self.nothing_ran = False  # it was to be done, and has not been
        self.recording = Recording(budget)
        # Set once it is known how it begins; None: as a stream, which the recording holds.
        self.begun: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._give, self._has_ended = give, has_ended
        self._copy: Copy | None = None  # for other processes, of what is given by this one
        self._is_own = True
        self._has_failed = self._is_stopping = False
        self._has_done_nothing = False  # it was refused: who tries again is asked for anew
        self._lingering: asyncio.Task[None] | None = None
        self.task = asyncio.create_task(self._work())

    @property
    def is_joinable(self) -> bool:
        """Whether somebody new would hear all of it."""
        return self.recording.is_kept and not self._is_stopping

    @property
    def is_done(self) -> bool:
        """Whether something was done that must not be done twice."""
        return self.has_effects and not self.nothing_ran

    async def act(self) -> None:
        """Say that something is done now that must not be done twice.

        Raises given.TakenOverError and DatabaseAwayError: then it must not be done at all.
        """
        self.nothing_ran = False
        if not self.has_effects:
            await given.act(self.claim)
            self.has_effects = True

    def listen(self) -> Listener:
        """Somebody who hears it from its beginning."""
        self._linger_no_more()
        return self.recording.listen(self._left)

    def _left(self) -> None:
        if not self.task.done() and not self.recording.is_heard:
            self._lingering = asyncio.create_task(self._linger())

    def _linger_no_more(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    async def _linger(self) -> None:
        """Wait a while for a retry, wherever it may come; then stop all."""
        is_awaited = self._is_own and self.recording.is_kept
        while is_awaited:
            await asyncio.sleep(settings.LINGER_S)
            is_awaited = False
            with suppress(DatabaseAwayError):  # then nobody can follow it either
                is_awaited = await given.is_followed(self.claim, settings.LINGER_S)
        self._stop()

    def _stop(self) -> None:
        self._is_stopping = True
        self.task.cancel()

    async def _work(self) -> None:
        may_be_heard_again = False
        try:
            opened = await self._opened()
            if isinstance(opened, Answer):
                self._has_done_nothing = not self.is_done
                self.begun.set_result(opened)
                return
            self.answer = opened.answer
            self.begun.set_result(None)
            await self._tell(opened)
            # What failed before it did anything is better tried again than heard again.
            is_worth_it = self.has_effects or not self._has_failed
            may_be_heard_again = self._is_own and self.recording.is_kept and is_worth_it
        except Exception as error:  # whoever listens is told, whatever it is
            self._fail(error)
        finally:
            self._end(may_be_heard_again)

    async def _opened(self) -> Answer | Stream:
        """The answer: given by us, or by another process that was there before, from its rows.

        Raises what `give`, Elsewhere.begin and given.claim do.
        """
        while (there := await given.claim(self.claim)) != self.claim:
            elsewhere = Elsewhere(there)
            if await elsewhere.begin():
                self._is_own = False
                self.claim, self.has_effects = there, elsewhere.has_effects
                return elsewhere
        opened = await self._give(self)
        if not isinstance(opened, Answer):
            self._copy = Copy(self.claim, {**opened.answer.headers, **self.said})
        return opened

    async def _tell(self, stream: Stream) -> None:
        async with aclosing(stream) as blocks:
            async for block in blocks:
                if not block:  # it has nothing to say just now
                    continue
                self._has_failed = block.startswith(_ERROR)
                self.recording.add(block)
                if self._copy is not None:
                    self._copy.add(block)
                    if not self.recording.is_kept:
                        await self._let_nobody_join()
                await self.recording.room()

    async def _let_nobody_join(self) -> None:
        """It is too long to be kept, and goes on for those who listen; nobody begins it anew."""
        self._copy = None
        await self.act()
        given.end(self.claim, State.BROKEN)
        if not self.recording.is_heard:
            self._stop()

    def _fail(self, error: Exception) -> None:
        if self.begun.done():
            trace = error if errors.is_unexpected(error) else None
            log.warning("req_%s broke off: %r", self.claim.request_id.hex, error, exc_info=trace)
            self.recording.add(last_words(error))
        else:
            self._has_done_nothing = not self.is_done
            self.begun.set_exception(error)
            self.begun.exception()  # seen: perhaps nobody waits for it any more

    def _end(self, may_be_heard_again: bool) -> None:
        self.begun.cancel()  # where it has not begun: nobody waits any more
        self.recording.end()
        self._linger_no_more()
        if self._copy is not None:
            self._copy.flush()
        if self._is_own:
            state = State.TOLD if may_be_heard_again else State.BROKEN
            given.end(self.claim, state, has_done_nothing=self._has_done_nothing)
        self._has_ended(self, may_be_heard_again)


Give = Callable[[Given], Awaitable[Answer | Stream]]
