"""Chat Completions as one of the upstream languages."""

import msgspec
from multidict import CIMultiDict

from proxy.adapters import refusals
from proxy.adapters.anthropic import add_own_headers
from proxy.adapters.ids import new_id
from proxy.adapters.language import Asked, Call
from proxy.adapters.openai import limits, reply
from proxy.adapters.openai.request import translated
from proxy.adapters.openai.translation import Profile
from proxy.routing import Target
from proxy.wire.signature import Signer

PATH = "/v1/chat/completions"


class OpenAILanguage:
    """Chat Completions, in and out."""

    lasting = limits.LASTING
    rebuilds = True

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def asked(self, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
        """The request translated. Raises BodyError for what cannot be said."""
        upstream, request = target.upstream, call.request
        translation = translated(
            request.body.decoded(),
            Profile(
                model=target.model,
                signer=self._signer,
                context_window=upstream.context_window,
                max_output_tokens=upstream.max_output_tokens,
                conceded=conceded,
            ),
        )
        headers: CIMultiDict[str] = CIMultiDict()
        add_own_headers(headers, call, target, "authorization")
        return Asked(
            path=PATH,
            headers=headers,
            body=msgspec.json.encode(translation.body),
            stream=request.stream,
            message=lambda answer: reply.message(
                answer, translation, model=request.model, new_id=new_id, signer=self._signer
            ),
            refusal=lambda status, answer: refusals.refusal(
                status, answer, window=upstream.context_window
            ),
            decoder=reply.Decoder(
                translation, model=request.model, new_id=new_id, signer=self._signer
            )
            if request.stream
            else None,
        )

    def concession(self, said: str, conceded: frozenset[str]) -> str:
        """A parameter or a form that this server does not know."""
        return limits.concession(said, conceded)
