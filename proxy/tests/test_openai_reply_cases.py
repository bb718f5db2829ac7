"""Answers in OpenAI's language: every case file, cut in several ways, read by several readers."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event

from proxy.adapters.openai.reply import Decoder, message
from proxy.adapters.openai.translation import Translation
from proxy.adapters.refusals import refusal
from proxy.answer import UpstreamError
from proxy.tests.case_files import Case, cases, differences
from proxy.tests.test_stream import Event, legal
from proxy.wire.message import assemble
from proxy.wire.signature import Signer

SIGNER = Signer.of("test")
CASES = cases("openai/answers")
STREAMS = [case for case in CASES if isinstance(case.answer, list)]

# What the SDK's reader knows of a message; what it does not know it leaves out.
_SDK_KNOWS = {"content", "model", "role", "stop_reason", "stop_sequence", "usage"}


def new_ids() -> Callable[[str], str]:
    """Ids in their order: msg_1, toolu_2, toolu_3."""
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers)}"


def translation(case: Case) -> Translation:
    """What is remembered of a case's request."""
    return Translation(
        body={},
        tool_names={},
        stop_sequences=case.body.get("stop_sequences", []),
        safeguards=[item["type"] for item in case.body.get("safeguards", [])],
        input_tokens=11,
    )


def decoder(case: Case) -> Decoder:
    return Decoder(translation(case), model=case.body["model"], new_id=new_ids(), signer=SIGNER)


def cut(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


def told(case: Case, size: int) -> tuple[bytes, UpstreamError | None]:
    """All events of a streamed case in chunks of `size` bytes, and the error that ended them."""
    it, stream = decoder(case), b""
    try:
        for chunk in cut(case.raw_answer, size):
            stream += it.feed(chunk)
        stream += it.end()
    except UpstreamError as error:
        return stream, error
    return stream, None


def as_the_sdk_reads(events: list[Event]) -> dict[str, Any]:
    snapshot: Any = None
    json_bufs: dict[int, bytes] = {}
    for event in events:
        if event["type"] != "ping":
            given: Any = event
            snapshot = accumulate_event(event=given, current_snapshot=snapshot, json_bufs=json_bufs)
    read: dict[str, Any] = snapshot.to_dict()
    return read


def error_of(error: UpstreamError) -> dict[str, str]:
    return {"type": getattr(error, "kind", "api_error"), "message": str(error)}


def read(case: Case) -> dict[str, Any]:
    """A case's outcome, under the name that the case gives it."""
    if case.status != 200:
        window = (case.profile or {}).get("context_window")
        status, body = refusal(case.status, case.raw_answer, window=window)
        return {"error": msgspec.json.decode(body)["error"] | {"status": status}}
    if not isinstance(case.answer, list):
        shown = case.body["model"]
        try:
            raw = message(
                case.raw_answer, translation(case), model=shown, new_id=new_ids(), signer=SIGNER
            )
        except UpstreamError as raised:
            return {"error": error_of(raised)}
        return {"message": msgspec.json.decode(raw)}
    stream, error = told(case, len(case.raw_answer))
    if error is None:
        return {"message": assemble(legal(stream))}
    return {"broken" if legal(stream, whole=False) else "error": error_of(error)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_says_what_the_case_says(case: Case) -> None:
    expected = {
        name: said
        for name in ("message", "error", "broken")
        if (said := getattr(case, name)) is not None
    }
    assert len(expected) == 1, "a case has one outcome"
    assert list(differences(expected, read(case))) == [], case.why


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case.name)
def test_it_says_the_same_however_a_stream_is_cut(case: Case, size: int) -> None:
    whole, error = told(case, len(case.raw_answer))
    pieces, other = told(case, size)
    assert (pieces, str(other)) == (whole, str(error))


@pytest.mark.parametrize(
    "case", [case for case in STREAMS if case.message is not None], ids=lambda case: case.name
)
def test_the_sdk_reads_the_same_message(case: Case) -> None:
    expected = {name: said for name, said in (case.message or {}).items() if name in _SDK_KNOWS}
    stream, error = told(case, 64)
    assert error is None
    assert list(differences(expected, as_the_sdk_reads(legal(stream)))) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_asked_for_the_way_it_is_answered(case: Case) -> None:
    assert case.kind == "openai"
    assert bool(case.request.get("stream")) == isinstance(case.answer, list)
