"""A server that speaks the Messages API without being Anthropic: its known faults are repaired."""

from proxy.adapters import refusals
from proxy.adapters.anthropic import outgoing_headers, with_model
from proxy.adapters.demo_scene import safeguard_types
from proxy.adapters.ids import new_id
from proxy.adapters.language import Asked, Call
from proxy.routing import Target
from proxy.wire import concession, history
from proxy.wire.body import JSONObject
from proxy.wire.repair import Repair
from proxy.wire.whole import repaired_message

BYTES_A_TOKEN = 4  # only until the server counts itself, which nearly all do


def _clamped(body: JSONObject, most: int | None) -> JSONObject:
    """The body with no more max_tokens than the server gives; Claude Code asks for 32,000 of any
    model that it does not know."""
    if most is None or body.value("max_tokens", 0) <= most:
        return body
    return JSONObject.parse(body.replaced("max_tokens", str(most).encode()))


class CompatibleLanguage:
    """The Messages API as LiteLLM, vLLM or Ollama serve it."""

    lasting = concession.ALL - {concession.THINKING_SIGNATURES}
    rebuilds = False

    def asked(self, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
        """The same request, without what this server has refused before."""
        request = call.request
        body = concession.conceding(history.without_local_thinking(request.body), conceded)
        body = _clamped(body, target.upstream.max_output_tokens)
        raw = request.sent_to(target.model, body)
        safeguards = safeguard_types({"safeguards": request.body.value("safeguards")})
        tokens = len(raw) // BYTES_A_TOKEN

        renamed = request.model if target.model != request.model else ""

        def message(answer: bytes) -> bytes:
            repaired = repaired_message(
                answer,
                safeguards=safeguards,
                model=request.model,
                input_tokens=tokens,
                new_id=new_id,
            )
            return with_model(repaired, renamed) if renamed else repaired

        repair = Repair(
            safeguards=safeguards, model=request.model, input_tokens=tokens, new_id=new_id
        )
        return Asked(
            path=call.path,
            query=call.query,
            headers=outgoing_headers(call, target),
            body=raw,
            stream=request.stream,
            renamed=renamed,
            message=bytes if call.counting else message,
            refusal=lambda status, answer: refusals.refusal(
                status, answer, window=target.upstream.context_window
            ),
            decoder=repair if request.stream else None,
        )

    def concession(self, said: str, conceded: frozenset[str]) -> str:
        """A field or a role that this server does not know."""
        return concession.concession(said, conceded)
