"""The SSE reader, cut at every byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import sse
from proxy.wire.sse import Event, Splitter

line_ends = st.sampled_from(["\n", "\r\n", "\r"])
payloads = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A stream in one of the three line endings, with the events that it means."""
    end = draw(line_ends)
    text, meant = "", []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(["ping", "message_start", "x y"]))
        data = draw(st.lists(payloads, min_size=1, max_size=2))
        space = draw(st.sampled_from(["", " "]))
        if draw(st.booleans()):
            text += f": {draw(payloads)}{end}"
        # Without the space after the colon, a payload must not begin with one: it would be eaten.
        shown = [
            f" {line}" if not space and line.startswith(" ") else space + line for line in data
        ]
        text += f"event:{space}{name}{end}" + "".join(f"data:{line}{end}" for line in shown) + end
        meant.append(Event(name, "\n".join(data).encode()))
    return text.encode(), meant


@given(streams())
def test_it_reads_the_same_events_however_the_chunks_are_cut(
    case: tuple[bytes, list[Event]],
) -> None:
    raw, meant = case
    for cut in range(len(raw) + 1):
        splitter = Splitter()
        blocks = [splitter.feed(raw[:cut]), splitter.feed(raw[cut:])]
        assert [event for block in blocks for event in sse.events(block)] == meant
        assert b"".join(blocks) + splitter.rest == raw


@given(streams())
def test_it_reads_the_same_events_byte_by_byte(case: tuple[bytes, list[Event]]) -> None:
    raw, meant = case
    splitter = Splitter()
    blocks = [splitter.feed(raw[i : i + 1]) for i in range(len(raw))]
    assert [event for block in blocks for event in sse.events(block)] == meant
    assert b"".join(blocks) + splitter.rest == raw


@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"a", b"\n").replace(b"b", b"\r"))))
def test_it_never_loses_or_changes_a_byte(chunks: list[bytes]) -> None:
    splitter = Splitter()
    passed = b"".join(splitter.feed(chunk) for chunk in chunks)
    assert passed + splitter.rest == b"".join(chunks)


def test_it_passes_on_only_whole_events() -> None:
    splitter = Splitter()
    assert splitter.feed(b"event: a\ndata: 1\n\nevent: b\nda") == b"event: a\ndata: 1\n\n"
    assert splitter.feed(b"ta: 2\n") == b""
    assert splitter.feed(b"\n") == b"event: b\ndata: 2\n\n"
    assert splitter.rest == b""


def test_it_does_not_take_a_single_crlf_for_a_blank_line() -> None:
    splitter = Splitter()
    assert splitter.feed(b"event: a\r\ndata: 1\r\n") == b""
    assert splitter.feed(b"\r\n") == b"event: a\r\ndata: 1\r\n\r\n"


def test_it_keeps_a_line_separator_that_json_may_contain() -> None:
    block = "data: \u2028\u0085\x0b\x0c\n\n".encode()
    assert list(sse.events(block)) == [Event("", "\u2028\u0085\x0b\x0c".encode())]


def test_it_gives_up_on_an_event_without_end() -> None:
    splitter = Splitter()
    megabyte = b"x" * 2**20
    with pytest.raises(sse.EventTooLongError):
        for _ in range(40):
            splitter.feed(megabyte)
