"""The story of one request, in the order it happens."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Self

import msgspec
from django.conf import settings

from accounts.principal import Principal
from billing.ledger import RecordId, State
from proxy import errors, receipts, table, upstream
from proxy.adapters.anthropic import Call
from proxy.answer import (
    Answer,
    Source,
    UpstreamError,
    UpstreamNonsenseError,
    UpstreamTimeoutError,
)
from proxy.patience import Patience
from proxy.receipts import Receipt
from proxy.wire import sse
from proxy.wire.body import BodyError, JSONObject, MessagesRequest

log = logging.getLogger(__name__)

PATH = "/v1/messages"
AFTERWORD_S = 1.0  # what an upstream gets to close a stream that has said its last word


async def relay(
    request_id: RecordId,
    request: MessagesRequest,
    caller: Principal,
    *,
    query: str,
    headers: Iterable[tuple[bytes, bytes]],
) -> "Answer | EventStream":
    """Ask the upstream that answers for the request's model; give back what it says.

    A stream comes back with its first block read, so that an upstream that refuses or dies before
    it still gets an HTTP status. Raises what errors.MEANING knows.
    """
    target = await table.choose(request.model)
    receipt = await receipts.opened(request_id, request, caller, target, headers)
    try:
        answer = await upstream.ask(
            target,
            Call(
                path=PATH,
                query=query,
                headers=headers,
                body=request.sent_to(target.model),
                stream=request.stream,
            ),
        )
        receipt.status, receipt.upstream_request_id = answer.status, answer.request_id
        renamed = request.model if target.model != request.model else ""
        if answer.source is None:
            return _whole(answer, receipt, renamed)
        stream = EventStream(answer, answer.source, receipt, renamed)
        await stream.begin()
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            receipt.close(State.INTERRUPTED)
        else:
            meaning = errors.meaning_of(error)
            receipt.status = meaning.status
            receipt.close(State.FAILED, error_type=meaning.kind)
        raise
    return stream


def _whole(answer: Answer, receipt: Receipt, renamed: str) -> Answer:
    """Count an answer that is not streamed, and give it the model name that was asked for."""
    if answer.status >= 400:
        receipt.close(State.FAILED, error_type=_error_type(answer.body))
        return answer
    receipt.meter.see_message(answer.body)
    receipt.close(State.COMPLETED if receipt.meter.has_end else State.FAILED)
    if not renamed:
        return answer
    return replace(answer, body=_with_model(answer.body, renamed))


def _error_type(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body)["error"]["type"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return error if isinstance(error, str) else ""


def _with_model(body: bytes, model: str) -> bytes:
    try:
        parsed = JSONObject.parse(body)
    except BodyError:
        return body  # not ours to mend; the client sees what the upstream said
    return parsed.replaced("model", msgspec.json.encode(model)) if "model" in parsed.spans else body


class EventStream:
    """Blocks of whole events for the client, counted as they pass.

    An object and not a generator, because a generator that was never started closes nothing.
    """

    def __init__(self, answer: Answer, source: Source, receipt: Receipt, renamed: str) -> None:
        self.answer = answer
        self._source = source
        self._receipt = receipt
        self._renamed = renamed  # the model name to show, until message_start has passed
        self._splitter = sse.Splitter()
        self._first = b""
        self._patience = Patience(settings.PING_S)
        self._over = False

    async def begin(self) -> None:
        """Read the first block. A silent upstream gets a ping to start with, and its time."""
        try:
            self._first = await self._next_block()
            if not self._first:
                raise UpstreamNonsenseError("The upstream ended its stream before the first event.")
        except BaseException:
            await self._stop()
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
        self._receipt.close(State.FAILED, error_type=kind)
        log.warning("req_%s broke off: %s", self._receipt.id.hex, error)
        return sse.encode(
            "error", msgspec.json.encode(errors.envelope(kind, errors.text_of(error)))
        )

    async def aclose(self) -> None:
        """The end, whichever it was: stop the upstream, settle the receipt. Safe to call again."""
        meter = self._receipt.meter
        if meter.error is not None:
            state = State.FAILED
        else:
            state = State.COMPLETED if meter.has_end else State.INTERRUPTED
        try:
            self._receipt.close(state)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._patience.end()
        await self._source.close()

    async def _next_block(self) -> bytes:
        """The next whole events, or a ping when the upstream is silent; empty at its end."""
        while True:
            try:
                chunk = await self._patience.wait(self._source.read())
            except TimeoutError:
                if self._patience.silent_s() >= settings.UPSTREAM_IDLE_S:
                    raise UpstreamTimeoutError("The upstream fell silent.") from None
                return sse.PING  # between events: what is not whole yet has not been sent
            if not chunk:
                return b""
            block = self._splitter.feed(chunk)
            if block:
                self._receipt.see(block)
                return self._shown(block) if self._renamed else block

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
    return start.replaced("message", _with_model(message, model)) if message else data
