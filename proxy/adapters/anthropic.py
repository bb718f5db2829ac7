"""Anthropic itself: bytes go through as they came."""

from collections.abc import Mapping
from typing import Any

import msgspec
from multidict import CIMultiDict

from proxy.adapters.language import HOPS, Asked, Call
from proxy.routing import Target
from proxy.wire import concession, history
from proxy.wire.body import BodyError, JSONObject

# Headers that say something to an Anthropic-format server. All else is between the client and us.
_FORWARDED = (b"anthropic-", b"x-claude-code-", b"x-stainless-")
_FORWARDED_TOO = frozenset({b"x-app", b"user-agent"})
# Not the client's to choose: they select an account of the operator's.
_HELD_BACK = frozenset({b"anthropic-organization-id"})
# What an answer says to the client besides its body. The operator's account is not its business.
_RETURNED = (
    "anthropic-ratelimit-",
    "anthropic-priority-",
    "anthropic-fast-",
    "retry-after",
    "llm_provider-retry-after",  # what LiteLLM makes of its provider's
    "x-should-retry",
    "x-opscenter-estimated",  # by another gateway like this one
)

DEFAULT_VERSION = "2023-06-01"  # for a client that names none; the API itself would refuse it


class AnthropicLanguage:
    """The Messages API as Anthropic serves it."""

    lasting: frozenset[str] = frozenset()
    rebuilds = False

    def asked(self, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
        """The same bytes; only the model's name is put in, and thinking of ours taken out."""
        request = call.request
        body = history.without_local_thinking(request.body)
        if concession.THINKING_SIGNATURES in conceded:
            body = history.without_thinking(body)
        renamed = request.model if target.model != request.model else ""
        return Asked(
            path=call.path,
            query=call.query,
            headers=outgoing_headers(call, target),
            body=request.sent_to(target.model, body),
            stream=request.stream,
            renamed=renamed,
            message=(lambda answer: with_model(answer, renamed)) if renamed else bytes,
        )

    def concession(self, said: str, conceded: frozenset[str]) -> str:
        """Thinking that somebody else has signed."""
        return concession.concession(said, conceded, known=concession.OF_ANTHROPIC)


def with_model(body: bytes, model: str) -> bytes:
    """A message with the model name that was asked for."""
    try:
        parsed = JSONObject.parse(body)
    except BodyError:
        return body  # not ours to mend; the client sees what the upstream said
    return parsed.replaced("model", msgspec.json.encode(model)) if "model" in parsed.spans else body


def outgoing_headers(call: Call, target: Target) -> CIMultiDict[str]:
    """The headers for the upstream: the client's that concern it, and the operator's credential."""
    headers: CIMultiDict[str] = CIMultiDict()
    for raw_name, raw_value in call.headers:
        if raw_name in _HELD_BACK:
            continue
        if raw_name.startswith(_FORWARDED) or raw_name in _FORWARDED_TOO:
            # Added, not set: a header may come in several lines, and betas do.
            headers.add(raw_name.decode("latin-1"), raw_value.decode("latin-1"))
    headers.setdefault("anthropic-version", DEFAULT_VERSION)
    add_own_headers(headers, call, target, target.upstream.credential_header)
    return headers


def add_own_headers(headers: Any, call: Call, target: Target, credential_header: str) -> None:
    """What every request says besides: its form, the operator's own headers, the credential."""
    headers["content-type"] = "application/json"
    headers["accept"] = "application/json"
    headers["accept-encoding"] = "identity"  # compressed bytes cannot be watched on their way
    headers[HOPS] = str(call.hops + 1)
    headers.update(target.upstream.headers)
    headers.update(shown_credential(credential_header, target.credential))


def shown_credential(header: str, credential: str) -> dict[str, str]:
    """The header that shows the operator's credential; none where there is none to show."""
    if not credential:
        return {}
    return {header: f"Bearer {credential}" if header == "authorization" else credential}


def returned_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The upstream's headers that go back to the client; a control character would break ours."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_RETURNED) and value.isascii() and value.isprintable()
    }
