"""The frames: every example of the document, byte for byte, and nothing else."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mcp import frames

EXAMPLES = Path(__file__).parents[2].joinpath("docs/tunnel-frames.jsonl").read_bytes().splitlines()
RESULT = (
    b'{"type":"result","id":"0193d0f2-2f6c-7cc0-9f6e-2b1d7a3c4e55","fence":1,"outcome":"done",'
    b'"result":%s}'
)
SOME_ID = "0193d0f2-2f6c-7cc0-9f6e-2b1d7a3c4e55"
FROM_GATEWAY = {kind.__struct_config__.tag for kind in frames.FromGateway.__args__} - {"bye"}


@pytest.mark.parametrize("line", EXAMPLES, ids=lambda line: line[:30].decode())
def test_it_reads_and_writes_every_example_byte_for_byte(line: bytes) -> None:
    kind = msgspec.json.decode(line)["type"]
    readers: list[Callable[[bytes | str], frames.Frame]] = []
    if kind in FROM_GATEWAY or kind == "bye":
        readers.append(frames.from_gateway)
    if kind not in FROM_GATEWAY:
        readers.append(frames.from_connector)
    for read in readers:
        assert frames.encode(read(line)) == line
        assert frames.encode(read(line.decode())) == line


def test_it_has_an_example_of_every_frame() -> None:
    shown = {msgspec.json.decode(line)["type"] for line in EXAMPLES}
    both = [*frames.FromConnector.__args__, *frames.FromGateway.__args__]
    assert shown == {kind.__struct_config__.tag for kind in both}


def test_it_ignores_members_that_it_does_not_know() -> None:
    assert frames.from_connector('{"type":"renew","calls":[],"later":1}') == frames.Renew(calls=[])


@pytest.mark.parametrize(
    "raw",
    [
        b"1",
        b"[]",
        b'"text"',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00 is half a pair"}',
        b'{"a":1e999}',
        b'{"a":tru}',
        b'{"a":01}',
        b'{"a":"\x01"}',
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' * 50 + b"[" * 51 + b"]" * 51 + b"}" * 50,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda raw: raw[:20].decode("latin-1"),
)
def test_it_takes_no_result_that_others_could_not_read(raw: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.from_connector(RESULT % raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"' + b"[" * 1000 + b'\\"{"}',
        b'{"a":' + b"[" * 99 + b"]" * 99 + b"}",
        b'{"a":[' + b'{"b":[]},' * 1000 + b"1]}",
        b'{"a":"\\ud83d\\ude00"}',
        b'{ "a" : [[]] }',
        b"{}",
    ],
)
def test_it_keeps_a_result_as_it_is(raw: bytes) -> None:
    frame = frames.from_connector(RESULT % raw)
    assert isinstance(frame, frames.Result)
    assert bytes(frame.result) == raw  # type: ignore[arg-type]  # it is set


def test_it_takes_no_frame_that_is_too_large() -> None:
    with pytest.raises(frames.FrameError, match="at most 2097152 bytes"):
        frames.from_connector(b" " * (frames.MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("raw", ["[],", "{},", '"",', "[" * 98 + "]" * 98 + ","])
def test_it_looks_at_the_largest_frame_in_no_time(raw: str) -> None:
    room = frames.MAX_FRAME_BYTES - len(RESULT) - 100
    body = '{"a":[%s1]}' % (raw * (room // len(raw)))
    began = time.process_time()
    frames.from_connector(RESULT % body.encode())
    assert time.process_time() - began < 0.2  # everybody waits meanwhile


@pytest.mark.parametrize("name", ["files\\n", "\\u0000", "a/b", "", "é", "a" * 65])
def test_it_takes_no_name_that_is_none(name: str) -> None:
    with pytest.raises(frames.FrameError):
        frames.from_connector(f'{{"type":"ready","servers":["{name}"]}}')


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "1" * 300])
def test_it_takes_no_progress_that_others_could_not_read(number: str) -> None:
    line = '{"type":"progress","id":"%s","fence":1,"progress":1,"total":%s}'
    with pytest.raises(frames.FrameError):
        frames.from_connector(line % (SOME_ID, number))


def test_it_says_nothing_of_what_was_sent() -> None:
    with pytest.raises(frames.FrameError) as caught:
        frames.from_connector('{"type":"secret-word"}')
    assert str(caught.value) == "Invalid value '…' - at `$.type`"


def test_it_raises_nothing_but_its_own_error() -> None:
    chance = random.Random(7)  # noqa: S311  (a test that fails must fail again)
    for _ in range(20_000):
        line = bytearray(chance.choice(EXAMPLES))
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(line))
            line[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        for read in (frames.from_connector, frames.from_gateway):
            try:
                frame = read(bytes(line))
            except frames.FrameError:
                continue
            msgspec.json.decode(frames.encode(frame))
