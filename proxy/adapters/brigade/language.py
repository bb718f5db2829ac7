"""Brigade as one of the upstream languages, in whichever dialect it speaks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from multidict import CIMultiDict

from proxy.adapters import refusals
from proxy.adapters.anthropic import add_own_headers
from proxy.adapters.brigade import a2a, chat, tasks
from proxy.adapters.brigade.dialect import Speak
from proxy.adapters.brigade.lines import LineDecoder
from proxy.adapters.brigade.telling import Setting
from proxy.adapters.ids import new_id
from proxy.adapters.language import Asked, Call
from proxy.adapters.openai import limits
from proxy.adapters.openai.fields import check_writable
from proxy.adapters.openai.language import OpenAILanguage
from proxy.adapters.openai.options import stop_sequences
from proxy.adapters.openai.translation import Profile
from proxy.aliases import agent_of
from proxy.routing import Target
from proxy.wire.estimate import input_tokens
from proxy.wire.signature import Signer

OPENAI = "openai"
OPENAI_PATH = "/api/v1/chat/completions"
ABSENT = frozenset({404, 405, 501})  # no such path, or none of that method
SPOKEN: Mapping[str, Speak] = {
    tasks.NAME: tasks.spoken,
    chat.NAME: chat.spoken,
    a2a.NAME: a2a.spoken,
}


class BrigadeLanguage:
    """Brigade, in and out. The target says the dialect: its upstream's row, or who asked it."""

    lasting = limits.LASTING
    rebuilds = True

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._openai = OpenAILanguage(signer)

    def asked(self, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
        """The request in the target's dialect. Raises BodyError for what it cannot say."""
        agent = agent_of(target.model, target.upstream.aliases)
        if target.upstream.dialect == OPENAI:
            asked = self._openai.asked(call, replace(target, model=agent), conceded)
            return replace(
                asked,
                path=OPENAI_PATH,
                headers=_headers(call, target),
                refusal=lambda status, answer: _elsewhere(status, *asked.refusal(status, answer)),
            )
        return self._spoken(call, target, agent)

    def _spoken(self, call: Call, target: Target, agent: str) -> Asked:
        request, speak = call.request, SPOKEN[target.upstream.dialect]
        body = request.body.decoded()
        check_writable(body)
        tokens = input_tokens(body)
        spoken = speak(body | {"max_tokens": self._room(body, tokens, target)}, agent, call)
        setting = Setting(
            model=request.model,
            input_tokens=tokens,
            stop_sequences=stop_sequences(body),
            signer=self._signer,
            new_id=new_id,
        )
        return Asked(
            path=spoken.path,
            headers=_headers(call, target),
            body=msgspec.json.encode(spoken.body),
            stream=request.stream,
            message=lambda answer: spoken.message(answer, setting),
            refusal=lambda status, answer: _refusal(target, status, answer),
            decoder=LineDecoder(spoken.reader(setting)) if request.stream else None,
        )

    def _room(self, body: Mapping[str, Any], tokens: int, target: Target) -> int:
        upstream = target.upstream
        profile = Profile(
            model=target.model,
            signer=self._signer,
            context_window=upstream.context_window,
            max_output_tokens=upstream.max_output_tokens,
        )
        return limits.room(body, tokens, profile)

    def concession(self, said: str, conceded: frozenset[str]) -> str:
        """What the OpenAI-compatible dialect may do without; the others have nothing to give up."""
        return limits.concession(said, conceded)


def _headers(call: Call, target: Target) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    add_own_headers(headers, call, target, target.upstream.credential_header)
    return headers


def _refusal(target: Target, status: int, answer: bytes) -> tuple[int, bytes]:
    meant, said = refusals.refusal(status, answer, window=target.upstream.context_window)
    # What it does not take is what we have made of the request.
    return (502, said) if meant == 422 else _elsewhere(status, meant, said)


def _elsewhere(status: int, meant: int, said: bytes) -> tuple[int, bytes]:
    # An agent or a dialect that is not there is no fault of the client's: another may have it.
    return (502, said) if status in ABSENT else (meant, said)
