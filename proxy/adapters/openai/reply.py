"""Chat completions, streamed or whole, told as an answer of the Messages API."""

from collections.abc import Callable

import msgspec

from proxy.adapters.openai import chunks
from proxy.adapters.openai.telling import Telling
from proxy.adapters.openai.translation import Translation
from proxy.answer import UpstreamError, UpstreamNonsenseError
from proxy.wire import message as messages
from proxy.wire import sse
from proxy.wire.lenient import MAX_DECODED_BYTES
from proxy.wire.signature import Signer


class Decoder:
    """A streamed chat completion as events of the Messages API."""

    def __init__(
        self,
        translation: Translation,
        *,
        model: str,
        new_id: Callable[[str], str],
        signer: Signer,
    ) -> None:
        self._telling = Telling(translation, model=model, new_id=new_id, signer=signer)
        self._splitter = sse.Splitter(MAX_DECODED_BYTES)
        self._failure: UpstreamError | None = None
        self._is_over = False

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that `chunk` completes; chunks may be cut anywhere.

        Raises UpstreamError. What came before an error is given out first, the error by the next
        call, so that an answer does not depend on how it was cut.
        """
        try:
            block = self._splitter.feed(chunk)
        except sse.EventTooLongError as error:
            raise UpstreamNonsenseError(str(error)) from error
        return self._told(block)

    def end(self) -> bytes:
        """The events still owed when the body has ended. Raises UpstreamError if it ended early."""
        # Some servers leave out the blank line after their last event.
        rest = self._splitter.rest.strip()
        told = [self._told(rest + b"\n\n")] if rest else []
        if self._failure is not None:
            raise self._failure
        if not self._is_over:
            self._is_over = True
            self._telling.end(told)
        return b"".join(told)

    def _told(self, block: bytes) -> bytes:
        if self._failure is not None:
            raise self._failure
        out: list[bytes] = []
        try:
            for event in sse.events(block):
                self._take(event, out)
        except UpstreamError as error:
            if not any(out):
                raise
            self._failure = error
        return b"".join(out)

    def _take(self, event: sse.Event, out: list[bytes]) -> None:
        data = event.data.strip()
        if self._is_over or not data:
            return
        if data == b"[DONE]":
            self._is_over = True
            self._telling.end(out)
            return
        value = chunks.decoded(data)
        if event.name == "error":
            value.setdefault("error", dict(value))
        self._telling.take(chunks.read(value, "delta"), out)


def message(
    body: bytes,
    translation: Translation,
    *,
    model: str,
    new_id: Callable[[str], str],
    signer: Signer,
) -> bytes:
    """A whole chat completion as a Message. Raises UpstreamNonsenseError or UpstreamSaidError."""
    whole = chunks.read(chunks.decoded(body), "message")
    if not whole.is_choice:
        raise UpstreamNonsenseError("The upstream answered with something that is no completion.")
    telling = Telling(translation, model=model, new_id=new_id, signer=signer)
    told: list[bytes] = []
    telling.take(whole, told)
    telling.end(told)
    events = [msgspec.json.decode(event.data) for event in sse.events(b"".join(told))]
    return msgspec.json.encode(messages.assemble(events))
