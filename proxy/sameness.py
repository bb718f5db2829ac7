"""What makes a request the same as another one, for a client's retry carries no marker (pure)."""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

import msgspec

from accounts.principal import Principal
from proxy import receipts, wishes
from proxy.wire.body import JSONObject, MessagesRequest

# What a client's fallback changes. All else counts: whoever changes a word of the system prompt,
# a tool or the effort asks something new, and `metadata` is where to say so on purpose.
_FREE = frozenset({"stream", "max_tokens"})
_THINKING, _BUDGET = "thinking", "budget_tokens"  # must be below max_tokens, so it goes with it
# Two agents of one session may ask the same at once, and both must be answered.
_HEADERS = receipts.ATTRIBUTION | {wishes.HEADER}


def digest_of(
    request: MessagesRequest,
    caller: Principal,
    headers: Iterable[tuple[bytes, bytes]],
    shape: str,
) -> str:
    """The same text for the same request of the same caller, in whichever process it arrives.

    `shape` is what else decides how the answer is told.
    """
    digest = blake2b(digest_size=32)
    told = sorted((name, value) for name, value in headers if name in _HEADERS)
    for part in [
        *_who(caller),
        shape.encode(),
        str(len(told)).encode(),
        *(part for header in told for part in header),
        *_body(request.body),
    ]:
        # Its length before it: no two lists of parts may read alike once they are joined.
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _who(caller: Principal) -> Iterator[bytes]:
    """The tenant, the person and the very key: an answer is nobody else's."""
    yield caller.organization_id.bytes
    yield str(caller.user_id).encode()
    yield caller.key_id.encode()
    yield " ".join(sorted(caller.scopes)).encode()


def _body(body: JSONObject) -> Iterator[bytes]:
    """Its members, each the bytes it is, in whichever order they stand."""
    for name in sorted(body.spans):
        if name in _FREE:
            continue
        yield name.encode()
        yield _thinking(body) if name == _THINKING else body.part(name)


def _thinking(body: JSONObject) -> bytes:
    value = body.value(_THINKING)
    if not isinstance(value, Mapping):
        return body.part(_THINKING)
    return msgspec.json.encode(
        {name: one for name, one in value.items() if name != _BUDGET}, order="sorted"
    )
