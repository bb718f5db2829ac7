"""A stream in an upstream's own language: decoded in pieces, and never cut off from its end."""

import asyncio
from collections.abc import Sequence

import pytest

from proxy.answer import (
    UpstreamError,
    UpstreamNonsenseError,
    UpstreamSaidError,
    UpstreamUnreachableError,
)
from proxy.decoded import PIECE_BYTES, Decoded


class Chunks:
    """A source of chunks; an error among them is raised."""

    def __init__(self, chunks: Sequence[bytes | UpstreamError]) -> None:
        self._chunks = [*chunks, b""]

    async def read(self) -> bytes:
        chunk = self._chunks.pop(0)
        if isinstance(chunk, UpstreamError):
            raise chunk
        return chunk

    async def close(self) -> None:
        self._chunks = [b""]


class Pieces:
    """A decoder that gives out what it is fed, and one last word unless that is owed to nobody."""

    def __init__(self, last: bytes | None = b"end") -> None:
        self.fed: list[bytes] = []
        self._last = last

    def feed(self, chunk: bytes) -> bytes:
        self.fed.append(chunk)
        return chunk

    def end(self) -> bytes:
        if self._last is None:
            raise UpstreamError("it ended early")
        return self._last


async def read(source: Decoded) -> bytes:
    blocks = []
    while block := await source.read():
        blocks.append(block)
    return b"".join(blocks)


async def test_it_decodes_a_large_chunk_piece_by_piece_and_loses_nothing() -> None:
    chunk = bytes(range(256)) * (PIECE_BYTES // 64)
    pieces = Pieces()
    assert await read(Decoded(Chunks([chunk, b"x"]), pieces)) == chunk + b"xend"
    assert max(map(len, pieces.fed)) == PIECE_BYTES


async def test_others_get_their_turn_between_two_pieces() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await read(Decoded(Chunks([b"x" * PIECE_BYTES * 10]), Pieces()))
    task.cancel()
    assert turns >= 9


async def test_a_read_that_is_called_off_between_two_pieces_loses_none() -> None:
    source = Decoded(Chunks([b"a" * PIECE_BYTES + b"b"]), Pieces())
    assert await source.read() == b"a" * PIECE_BYTES
    called_off = asyncio.ensure_future(source.read())
    await asyncio.sleep(0)
    called_off.cancel()
    with pytest.raises(asyncio.CancelledError):
        await called_off
    assert await read(source) == b"bend"


async def test_a_connection_that_breaks_after_the_answers_end_breaks_nothing() -> None:
    broken = UpstreamUnreachableError("it broke off")
    assert await read(Decoded(Chunks([b"x", broken]), Pieces())) == b"xend"


async def test_a_connection_that_breaks_before_it_is_told_as_that() -> None:
    broken = UpstreamUnreachableError("it broke off")
    source = Decoded(Chunks([b"x", broken]), Pieces(last=None))
    assert await source.read() == b"x"
    with pytest.raises(UpstreamUnreachableError):
        await source.read()


class Stumbling(Pieces):
    """A decoder with a mistake in it."""

    def feed(self, chunk: bytes) -> bytes:
        raise KeyError(chunk)


async def test_what_no_decoder_had_foreseen_is_the_upstreams_nonsense() -> None:
    with pytest.raises(UpstreamNonsenseError, match="cannot be understood"):
        await Decoded(Chunks([b"x"]), Stumbling()).read()


SECRET = "sk-" + "s" * 20


class Refusing(Pieces):
    """A decoder of a stream that is an error."""

    def feed(self, chunk: bytes) -> bytes:
        raise UpstreamSaidError("api_error", f"no such key: {chunk.decode()}")


async def test_no_error_says_the_credential() -> None:
    with pytest.raises(UpstreamSaidError, match=r"no such key: \[removed\]"):
        await Decoded(Chunks([SECRET.encode()]), Refusing(), SECRET).read()
    source = Decoded(Chunks([f"key {SECRET}".encode()]), Pieces(), SECRET)
    assert await source.read() == b"key [removed]"


async def test_a_word_in_place_of_a_credential_may_be_said() -> None:
    assert await read(Decoded(Chunks([b"ask ollama "]), Pieces(), "ollama")) == b"ask ollama end"
