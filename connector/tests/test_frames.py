"""The frames, byte for byte as docs/tunnel-frames.jsonl has them."""

import json
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import frames

EXAMPLES = (
    Path(__file__).parents[2].joinpath("docs/tunnel-frames.jsonl").read_text("utf-8").splitlines()
)


def read(line: str) -> Any:
    said = json.loads(line)
    ours = said["type"] in frames.FROM_CONNECTOR and "code" not in said  # both may say bye
    return (frames.from_connector if ours else frames.from_gateway)(line)


@pytest.mark.parametrize("line", EXAMPLES)
def test_it_writes_what_it_read_byte_for_byte(line: str) -> None:
    assert frames.encode(read(line)) == line


def test_it_has_an_example_of_every_frame() -> None:
    shown = {json.loads(line)["type"] for line in EXAMPLES}
    assert shown == frames.FROM_CONNECTOR.keys() | frames.FROM_GATEWAY.keys()


def test_it_ignores_members_that_a_newer_gateway_adds() -> None:
    started = frames.from_gateway(
        '{"type":"started","id":"a","fence":1,"remaining_ms":5,"mood":"good"}'
    )
    assert started == frames.Started(id="a", fence=1, remaining_ms=5)


def test_it_tells_an_unknown_type_from_nonsense() -> None:
    with pytest.raises(frames.UnknownFrameError, match="sing"):
        frames.from_gateway('{"type":"sing"}')


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"type":7}',
        '{"type":"started","id":"a"}',
        '{"type":"started","id":"a","fence":"1","remaining_ms":5}',
        '{"type":"started","id":"a","fence":true,"remaining_ms":5}',
        '{"type":"renewed","held":[["a"]],"lost":[],"cancel":[]}',
        '{"type":"renewed","held":[7],"lost":[],"cancel":[]}',
        '{"type":"call","id":"a","fence":1,"server":"s","method":"m","params":[],'
        '"has_effects":true,"remaining_ms":1}',
        "[" * 100_000,
    ],
)
def test_it_says_what_is_wrong_with_a_frame(nonsense: str) -> None:
    with pytest.raises(frames.FrameError):
        frames.from_gateway(nonsense)
