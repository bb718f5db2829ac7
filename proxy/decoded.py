"""What upstreams say in languages of their own, read without trust and in pieces."""

import asyncio
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from proxy.answer import (
    Decoder,
    Source,
    UpstreamError,
    UpstreamNonsenseError,
    UpstreamSaidError,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
SECRET_CHARS = 16  # a shorter credential is none: "ollama", "EMPTY"
PIECE_BYTES = 8 * 1024  # of a stream, decoded at once: about a millisecond
PAUSE_S = 0.001  # between two pieces that came at once: a model is never as fast


def understood(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `read` makes of something an upstream said. Whatever else goes wrong is nonsense of the
    upstream's, so that the next one can answer, and no stream ends in silence."""
    try:
        return read(*args, **kwargs)
    except UpstreamError:
        raise
    except Exception as error:
        log.exception("an answer was not understood")
        raise UpstreamNonsenseError("The upstream's answer cannot be understood.") from error


def without(credential: str, body: bytes) -> bytes:
    """What was said without the credential. A short one is a word for servers that want none."""
    if len(credential) < SECRET_CHARS:
        return body
    return body.replace(credential.encode(), b"[removed]")


class Decoded:
    """The events that an upstream's own language comes to."""

    __slots__ = ("_credential", "_decoder", "_ended", "_source", "_waiting")

    def __init__(self, source: Source, decoder: Decoder, credential: str = "") -> None:
        self._credential = credential  # no error may say it
        self._source = source
        self._decoder = decoder
        self._waiting = b""  # what has been read and not decoded
        self._ended = False

    async def read(self) -> bytes:
        while not self._ended:
            if self._waiting:
                await asyncio.sleep(PAUSE_S)  # others get their turn, and so do other threads
            else:
                try:
                    self._waiting = await self._source.read()
                except UpstreamError as broken:
                    self._ended = True
                    return self._last_words(broken)
            if not self._waiting:
                self._ended = True
                return understood(self._decoder.end)
            piece = self._waiting[:PIECE_BYTES]
            self._waiting = self._waiting[PIECE_BYTES:]
            try:
                events = understood(self._decoder.feed, piece)
            except UpstreamSaidError as said:
                text = without(self._credential, str(said).encode()).decode()
                raise UpstreamSaidError(said.kind, text) from None
            if events:
                return without(self._credential, events)
        return b""

    def _last_words(self, broken: UpstreamError) -> bytes:
        """What is owed of an answer that had come to its end before the connection broke."""
        try:
            return self._decoder.end()
        except UpstreamError:
            raise broken from None

    async def close(self) -> None:
        await self._source.close()
