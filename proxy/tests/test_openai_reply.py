"""Answers in OpenAI's language: what a case file cannot say."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from proxy.adapters import refusals
from proxy.adapters.openai import calls, telling
from proxy.adapters.openai.reply import Decoder, message
from proxy.adapters.openai.translation import Translation
from proxy.answer import UpstreamError, UpstreamNonsenseError, UpstreamSaidError
from proxy.tests.test_openai_reply_cases import SIGNER, new_ids
from proxy.tests.test_stream import Event, legal
from proxy.wire import sse
from proxy.wire.message import assemble

DONE = b"data: [DONE]\n\n"


def translation(*stop_sequences: str) -> Translation:
    return Translation(
        body={},
        tool_names={"mcp__short_1a2b": "mcp__a.very.long.name"},
        stop_sequences=stop_sequences,
        safeguards=[],
        input_tokens=123,
    )


def decoder(*stop_sequences: str) -> Decoder:
    return Decoder(
        translation(*stop_sequences), model="claude-test", new_id=new_ids(), signer=SIGNER
    )


def event(finish: str | None = None, **delta: object) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def call(arguments: str, name: str = "", index: int = 0) -> dict[str, Any]:
    return {"index": index, "function": {"name": name, "arguments": arguments}}


def whole(*sent: bytes, stop_sequences: Sequence[str] = ()) -> list[Event]:
    it = decoder(*stop_sequences)
    return legal(b"".join([it.feed(b"".join(sent) + event("stop") + DONE), it.end()]))


def test_it_begins_with_the_estimate_and_a_sign_of_life() -> None:
    start, ping, *_ = whole(event(role="assistant", content=""))
    assert start["message"]["usage"]["input_tokens"] == 123
    assert ping == {"type": "ping"}


def test_it_gives_every_call_an_id_of_its_own_and_the_name_that_the_client_knows() -> None:
    told = whole(
        event(tool_calls=[call("{}", "mcp__short_1a2b"), call("{}", "Bash", index=1)]),
    )
    content = assemble(told)["content"]
    assert [block["name"] for block in content] == ["mcp__a.very.long.name", "Bash"]
    assert [block["id"] for block in content] == ["toolu_2", "toolu_3"]
    assert assemble(told)["id"] == "msg_1"


def test_it_signs_thinking_as_the_gateway_own() -> None:
    told = whole(event(reasoning="One, "), event(reasoning="two."), event(content="Three."))
    thinking = assemble(told)["content"][0]
    assert SIGNER.signed("One, two.", thinking["signature"])


def test_it_passes_arguments_on_as_they_come() -> None:
    it = decoder()
    it.feed(event(tool_calls=[call("", "Bash")]))
    assert b'"name":"Bash"' in it.feed(event(tool_calls=[call('{"a":')]))
    assert b'"partial_json":"[1,"' in it.feed(event(tool_calls=[call("[1,")]))
    assert it.feed(event(tool_calls=[call("{", "Read", index=1)])) == b"", "the first is not whole"
    told = it.feed(event(tool_calls=[call("2]}")]) + event(tool_calls=[call('"b"', index=1)]))
    assert told.index(b"2]}") < told.index(b'"name":"Read"') < told.index(b'{\\"b\\"')


def test_it_passes_text_on_as_it_comes_but_for_what_may_be_a_stop_sequence() -> None:
    it = decoder("END")
    assert b'"text":"The "' in it.feed(event(content="The EN"))
    assert b'"text":"EN"' not in it.feed(event(content="T"))


def test_it_says_nothing_before_an_error_that_comes_first() -> None:
    with pytest.raises(UpstreamSaidError) as raised:
        decoder().feed(b'data: {"error":{"message":"Busy","code":429}}\n\n')
    assert (raised.value.kind, str(raised.value)) == ("rate_limit_error", "Busy")


def test_it_gives_out_what_came_before_an_error_in_the_same_chunk() -> None:
    it = decoder()
    told = it.feed(event(content="Hi") + b'data: {"error":"gone"}\n\n')
    assert b'"text":"Hi"' in told
    with pytest.raises(UpstreamSaidError, match="gone"):
        it.feed(event("stop"))
    with pytest.raises(UpstreamSaidError, match="gone"):
        it.end()


def test_it_ends_once() -> None:
    it = decoder()
    assert b"message_stop" in it.feed(event("stop", content="Hi") + DONE)
    assert it.feed(DONE + event(content="more")) + it.end() == b""


def test_it_shows_a_whole_completion_with_the_requested_model() -> None:
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "model": "other"}
    told = message(
        json.dumps(body).encode(),
        translation(),
        model="claude-test",
        new_id=new_ids(),
        signer=SIGNER,
    )
    assert json.loads(told)["model"] == "claude-test"


def endless_name() -> bytes:
    return b"".join(
        event(tool_calls=[call("", f"part_{at}")]) for at in range(calls.MAX_NAME_CHARS)
    )


def endless_calls() -> bytes:
    made = [call("{}", "Bash", index=at) for at in range(calls.MAX_CALLS + 1)]
    return event(tool_calls=made)


def endless_text() -> bytes:
    return b"".join(event(content="x" * 100) for _ in range(11))


def endless_event() -> bytes:
    return b"data: " + b"x" * 2000


@pytest.mark.parametrize("sent", [endless_name, endless_calls, endless_text, endless_event])
def test_it_does_not_keep_what_has_no_end(
    sent: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = sent()
    if sent is endless_text:
        monkeypatch.setattr(telling, "MAX_ANSWER_CHARS", 1000)
    if sent is endless_event:
        monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    it = decoder()
    with pytest.raises(UpstreamNonsenseError):
        it.feed(raw)
        it.feed(event("stop"))


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"choices":' + b"[" * 100_000 + b"\n\n",
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"x","arguments":'
        + b"[" * 900
        + b"]" * 900
        + b"}}]}}]}\n\n",
        b'data: {"choices":[{"delta":{"content":' + b"9" * 5000 + b"}}]}\n\n",
        b"data: \xff\n\n",
    ],
    ids=["deep", "deep arguments", "a long number", "no UTF-8"],
)
def test_it_survives_hostile_json(raw: bytes) -> None:
    it = decoder()
    with pytest.raises(UpstreamError):
        it.feed(raw)
        it.end()


SECRETS = [
    "sk-proj-abcDEF123456",
    "Authorization: Bearer abcdef.123456",
    "api_key=0123456789",
    '"api_key": "0123456789"',
    "AIzaSyA1234567890abcdefghij",
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0",
    "0123456789abcdef0123456789abcdef01234567",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_it_passes_on_no_credential(secret: str) -> None:
    body = json.dumps({"error": {"message": f"Refused: {secret} is wrong"}}).encode()
    _, said = refusals.refusal(400, body, window=None)
    text = json.loads(said)["error"]["message"]
    assert text.startswith("Refused: ") and text.endswith(" is wrong") and "[removed]" in text
    assert secret[-8:].strip('"') not in text


@pytest.mark.parametrize(
    "text",
    [
        "unexpected token: 'max_tokens' at meta-llama/Llama-3.1-405B-Instruct",
        "see task-0c4f9a52-5b1d-4b7e-9d52-1f0f0c3f6a11",
    ],
)
def test_it_leaves_an_explanation_as_it_is(text: str) -> None:
    _, said = refusals.refusal(400, json.dumps({"error": text}).encode(), window=None)
    assert json.loads(said)["error"]["message"] == text


def test_it_shortens_what_a_server_says() -> None:
    for body in (b"x" * 10_000_000, json.dumps({"error": {"message": "x" * 100_000}}).encode()):
        _, said = refusals.refusal(500, body, window=None)
        assert 1000 < len(said) < 5000
