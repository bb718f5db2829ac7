"""An upstream's stream on its way to the client: counted, kept alive, never ended in silence."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Self

import msgspec
from django.conf import settings

from accounts.redaction import body_without_known
from billing.ledger import RecordId, State
from proxy import errors
from proxy.adapters.anthropic import with_model
from proxy.answer import (
    Answer,
    Source,
    UpstreamError,
    UpstreamNonsenseError,
    UpstreamSaidError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from proxy.breaker import Place
from proxy.patience import Patience
from proxy.receipts import Receipt
from proxy.wire import sse
from proxy.wire.body import BodyError, JSONObject

log = logging.getLogger(__name__)

PING_BYTES = 200  # several pings or comments in one chunk; no event with content is as short
AFTERWORD_S = 1.0  # what an upstream gets to close a stream that has said its last word


class EventStream:
    """Blocks of whole events for the client, counted as they pass.

    An object and not a generator, because a generator that was never started closes nothing.
    """

    def __init__(
        self, answer: Answer, source: Source, receipt: Receipt, place: Place, renamed: str
    ) -> None:
        self.answer = answer
        self._source = source
        self._receipt = receipt
        self._place = place
        self._renamed = renamed  # the model name to show, until message_start has passed
        self._splitter = sse.Splitter()
        self._first = b""
        self._patience = Patience(settings.PING_S)
        self._idle_s = receipt.target.upstream.idle_s or settings.UPSTREAM_IDLE_S
        self._only_pings_since: float | None = None
        self._half_since: float | None = None  # of an event, or of the last ping in it
        self._over = False

    async def begin(self) -> None:
        """Read the first block. A silent upstream gets a ping to start with, and its time.

        Raises UpstreamError, also for an error that the upstream says instead of an answer.
        """
        try:
            self._first = await self._next_block()
            if not self._first:
                raise UpstreamNonsenseError("The upstream ended its stream before the first event.")
            if (error := self._receipt.meter.error) is not None:
                raise said(error)
        except BaseException as error:
            self._patience.end()
            await self._source.close()  # the place is left by who judges the failure
            if isinstance(error, sse.EventTooLongError):
                raise UpstreamNonsenseError(str(error)) from error
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            block, self._first = self._first, b""
            return block
        if self._over:
            raise StopAsyncIteration
        if self._receipt.meter.stopped:
            return await self._afterword()
        try:
            block = await self._next_block()
        except (UpstreamError, sse.EventTooLongError) as error:
            if isinstance(error, UpstreamUnreachableError | UpstreamTimeoutError):
                self._place.failed(time.monotonic())  # else it may be what this request has asked
            return self._end(error)
        return block or self._end(UpstreamError("The upstream ended its stream too early."))

    async def _afterword(self) -> bytes:
        """What follows the last event, if anything does: the answer is whole, whatever happens.

        Read to its end, the connection can serve the next request.
        """
        try:
            async with asyncio.timeout(AFTERWORD_S):
                block = await self._next_block()
        except (TimeoutError, UpstreamError, sse.EventTooLongError):
            block = b""
        if not block or block == sse.PING:
            self._over = True
            raise StopAsyncIteration
        return block

    def _end(self, error: Exception) -> bytes:
        """The last words of a stream that its upstream ended or left: never silence.

        `error` is told only where the answer had not come to an end of its own before.
        """
        self._over = True
        meter = self._receipt.meter
        if meter.stopped or meter.error is not None:
            raise StopAsyncIteration
        if meter.stop_reason:  # the answer is whole, but the SDKs insist on its last event
            return sse.encode("message_stop", b'{"type":"message_stop"}')
        kind = errors.kind_of(error)
        self._settle(State.FAILED, error_type=kind)
        log.warning("req_%s broke off: %s", self._receipt.id.hex, error)
        return sse.encode(
            "error", msgspec.json.encode(errors.envelope(kind, errors.text_of(error)))
        )

    @property
    def step(self) -> RecordId:
        """The row of the ledger that it is."""
        return self._receipt.id

    @property
    def cost_nano(self) -> int:
        """What it has cost, once it is closed."""
        return self._receipt.cost_nano

    async def aclose(self) -> None:
        """The end, whichever it was: stop the upstream, settle the receipt. Safe to call again."""
        meter = self._receipt.meter
        if meter.error is not None:
            state = State.FAILED
        else:
            state = State.COMPLETED if meter.has_end else State.INTERRUPTED
        try:
            self._settle(state)
        finally:
            await self._stop()

    def _settle(self, state: State, *, error_type: str = "") -> None:
        self._patience.give_up()
        self._receipt.longest_silence_ms = int(self._patience.longest_s * 1000)
        self._receipt.stalls = self._patience.stalls
        self._receipt.stalled_s = self._patience.stalled_s
        self._receipt.close(state, error_type=error_type)

    async def _stop(self) -> None:
        self._patience.end()
        self._place.leave()
        await self._source.close()

    async def _next_block(self) -> bytes:
        """The next whole events, or a ping when the upstream is silent; empty at its end."""
        while True:
            try:
                chunk = await self._patience.wait(self._source.read())
            except TimeoutError:
                if self._patience.silent_s() >= self._idle_s:
                    raise UpstreamTimeoutError("The upstream fell silent.") from None
                return sse.PING  # between events: what is not whole yet has not been sent
            if not chunk:
                return b""
            block = self._splitter.feed(chunk)
            self._refuse_endless_pings(block)
            if block:
                self._half_since = None
                if not self._receipt.has_begun:
                    self._patience.forget()  # a stall comes after the first word
                self._receipt.see(block)
                return self._told(block)
            if self._is_long_in_half():
                return sse.PING

    def _told(self, block: bytes) -> bytes:
        """The block as the client gets it."""
        if self._receipt.meter.error is not None:  # it may repeat the credential it does not like
            return body_without_known(block)
        return self._shown(block) if self._renamed else block

    def _is_long_in_half(self) -> bool:
        """Whether the client has heard nothing for long: an event comes in small pieces."""
        now = time.monotonic()
        since = now if self._half_since is None else self._half_since
        is_long = now - since >= settings.PING_S
        self._half_since = now if is_long else since
        return is_long

    def _refuse_endless_pings(self, block: bytes) -> None:
        """Raise UpstreamTimeoutError when nothing but signs of life has come for too long."""
        if len(block) > PING_BYTES or b"message_" in block or b"content_" in block:
            self._only_pings_since = None
            return
        now = time.monotonic()
        if self._only_pings_since is None:
            self._only_pings_since = now
        elif now - self._only_pings_since >= settings.UPSTREAM_PINGS_S:
            raise UpstreamTimeoutError("The upstream sends nothing but pings.")

    def _shown(self, block: bytes) -> bytes:
        """The block with the requested model name in its message_start.

        Claude Code drops the thinking of an answer that carries another name than it asked for.
        """
        if b"message_start" not in block:
            return block
        renamed, self._renamed = self._renamed, ""
        return b"".join(
            sse.encode(event.name, _renamed_start(event.data, renamed))
            if b"message_start" in event.data
            else sse.encode(event.name, event.data)
            for event in sse.events(block)
        )


def _renamed_start(data: bytes, model: str) -> bytes:
    try:
        start = JSONObject.parse(data)
    except BodyError:
        return data
    message = start.part("message")
    return start.replaced("message", with_model(message, model)) if message else data


def said(error: Mapping[str, Any]) -> UpstreamSaidError:
    """An error that an upstream says inside an answer, as an exception."""
    kind, text = error.get("type"), error.get("message")
    return UpstreamSaidError(
        kind if isinstance(kind, str) else "api_error",
        text if isinstance(text, str) else "The upstream answered with an error.",
    )
