"""An upstream that speaks the Messages API itself: bytes go through as they came."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from multidict import CIMultiDict

from proxy.routing import Target

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
    "x-should-retry",
)

DEFAULT_VERSION = "2023-06-01"  # for a client that names none; the API itself would refuse it

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it came in, with the body that the target is to see."""

    path: str
    query: str
    headers: RawHeaders
    body: bytes
    stream: bool


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
    headers["content-type"] = "application/json"
    headers["accept"] = "application/json"
    headers["accept-encoding"] = "identity"  # compressed bytes cannot be watched on their way
    headers.update(shown_credential(target.upstream.credential_header, target.upstream.credential))
    return headers


def shown_credential(header: str, credential: str) -> dict[str, str]:
    """The header that shows the operator's credential; none where there is none to show."""
    if not credential:
        return {}
    return {header: f"Bearer {credential}" if header == "authorization" else credential}


def returned_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The upstream's headers that go back to the client."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith(_RETURNED) and value.isascii()
    }
