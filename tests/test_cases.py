"""Every case file through a running gateway: a scripted upstream, odd chunks, the official SDK."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from proxy.models import Route
from proxy.models import Upstream as Provider
from proxy.tests.case_files import Case, cases, differences
from tests import answers
from tests.answers import Answer
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.upstream import MESSAGES, Upstream

CHAT = "/v1/chat/completions"
TARGET = "target-model"
MOST_CUTS = 12
ASKED_AGAIN = 5  # at most: a refusal may name something that the gateway can do without

# What the SDK's reader knows of a message; what it does not know it leaves out.
SDK_KNOWS = {"content", "model", "role", "stop_reason", "stop_sequence", "usage"}

# A server that has refused something is simulated by the pure tests of these cases alone.
FRESH = [case for case in cases("openai/requests") if not (case.profile or {}).get("conceded")]

# What the gateway refuses itself, in words of its own, before a translator sees it.
OUR_WORDS = {"error_whole_not_json", "refused_odd_status", "refused_our_key"}

PLAIN = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
STREAMED = [
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


def answered(case: Case, cuts: random.Random) -> Answer:
    """The upstream's answer of a case, cut anywhere; a plain one where the case has none."""
    if case.answer is None:
        return answers.stream(STREAMED) if case.body.get("stream") else answers.as_json(PLAIN)
    if not isinstance(case.answer, list):
        described = {"content-type": case.content_type}
        return answers.whole(case.raw_answer, status=case.status, headers=described)
    raw = case.raw_answer
    places = cuts.sample(range(1, len(raw)), min(MOST_CUTS, len(raw) - 1))
    return answers.stream(answers.cut_at([raw], *places))


def asked(client: anthropic.Anthropic, case: Case) -> dict[str, Any]:
    """What the SDK makes of the answer: the message, or the error in its place."""
    body = case.body
    named = {name: body[name] for name in ("model", "max_tokens", "messages")}
    extra = {name: body[name] for name in body.keys() - {*named, "stream"}}
    try:
        if not body.get("stream"):
            message = client.messages.create(**named, extra_body=extra)
            return {"message": message.to_dict(warnings=False)}
        if case.broken is not None:  # the events alone: the reader may stumble before the error
            return {"events": list(client.messages.create(**named, extra_body=extra, stream=True))}
        with client.messages.stream(**named, extra_body=extra) as stream:
            return {"message": stream.get_final_message().to_dict(warnings=False)}
    except anthropic.APIStatusError as error:
        return {"error": {"status": error.status_code, **_said(error.body)}}


def _said(body: object) -> dict[str, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {"message": body}


def expected(case: Case) -> dict[str, Any]:
    """The same of what the case says."""
    if case.message is not None:
        return {"message": {k: v for k, v in case.message.items() if k in SDK_KNOWS}}
    if case.error is not None:
        own = {"message"} if case.name in OUR_WORDS else set()
        return {"error": {k: v for k, v in case.error.items() if k not in own}}
    return {"error": case.broken} if case.broken is not None else {}


@pytest.fixture
def replayed(gateway: Gateway, upstream: Upstream) -> Iterator[Callable[[list[Case]], list[str]]]:
    """Replays cases one after the other; what is wrong, a line each."""
    cuts = random.Random(20261123)
    with anthropic.Anthropic(
        base_url=gateway.url, auth_token=gateway.key, api_key=None, max_retries=0, timeout=30
    ) as client:

        def replay(all_of_them: list[Case]) -> list[str]:
            return [
                f"{case.name}{line}"
                for case in all_of_them
                for line in _replayed(client, upstream, case, answered(case, cuts))
            ]

        yield replay


def _replayed(
    client: anthropic.Anthropic, upstream: Upstream, case: Case, answer: Answer
) -> Iterator[str]:
    path = CHAT if case.kind == "openai" else MESSAGES
    profile = case.profile or {}
    # A row of its own for each: a failure is no other case's business.
    Route.objects.all().delete()
    Provider.objects.all().delete()
    lead_to(
        f"{upstream.url}/{case.name}",
        name=f"case-{len(upstream.requests)}",
        kind=case.kind,
        target_model=TARGET if case.kind == "openai" else "",
        context_window=profile.get("context_window"),
        max_output_tokens=profile.get("max_output_tokens"),
    )
    path = f"/{case.name}{path}"
    upstream.script(*[answer] * ASKED_AGAIN, path=path)
    got = asked(client, case)
    yield from differences(expected(case), got)
    if case.sent is not None:
        sent = upstream.sent_to(path)[-1].json
        if sent != case.sent:
            yield f" sent {sent}, not {case.sent}"


def test_it_translates_every_request(replayed: Callable[[list[Case]], list[str]]) -> None:
    assert "\n".join(replayed(FRESH)) == ""


def test_it_translates_every_answer(replayed: Callable[[list[Case]], list[str]]) -> None:
    assert "\n".join(replayed(cases("openai/answers"))) == ""


def test_it_repairs_every_answer(replayed: Callable[[list[Case]], list[str]]) -> None:
    assert "\n".join(replayed(cases("compatible"))) == ""
