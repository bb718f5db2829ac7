"""What an upstream has refused before, and a request that does without it."""

import re
from collections.abc import Collection

from proxy.wire.body import JSONObject
from proxy.wire.history import with_system_folded, without_fields, without_thinking

THINKING_SIGNATURES = "thinking signatures"
SYSTEM_ROLE = "system role"

# Top-level fields without which the answer is still an answer to the same question.
FIELDS = (
    "context_management",
    "safeguards",
    "output_config",
    "thinking",
    "metadata",
    "service_tier",
    "speed",
    "diagnostics",
    "inference_geo",
    "cache_control",
    "fallbacks",
    "billing_policy",
)

ALL = frozenset({THINKING_SIGNATURES, SYSTEM_ROLE, *FIELDS})
# Anthropic takes all of its own API; it refuses only thinking that somebody else has signed.
OF_ANTHROPIC = frozenset({THINKING_SIGNATURES})

_WORDINGS = {
    THINKING_SIGNATURES: (
        r"invalid .{0,20}signature",
        r"signature.{0,100}(?:not valid|invalid|field required|input should be|could not be)",
        r"thinking.{0,100}cannot be modified",
        r"input tag '(?:redacted_)?thinking' found",
        r"(?:unsupported|unknown|invalid) (?:content )?(?:block )?(?:type)?.{0,20}\bthinking\b",
    ),
    SYSTEM_ROLE: (
        r"(?:unexpected|invalid|unknown|unsupported).{0,20}\brole\b.{0,20}\bsystem\b",
        r"messages.{1,10}\brole\b.{0,40}input should be 'user' or 'assistant'",
        r"\bsystem\b.{0,20}\b(?:message|role)\b.{0,40}(?:beginning|first|not supported)",
        r"roles must alternate",
        r"only.{0,40}\buser\b.{0,20}\bassistant\b.{0,20}\broles?\b",
    ),
}
# `context_management: Extra inputs are not permitted` and what other servers say for it, in which
# the field stands after the complaint or at the beginning of it. A dot before it would make it
# another field, one that lies deeper.
_PLACE = r"(?:^|[\s'\"`(:,>\[]|\bbody\.)"
_NAMES = "|".join(FIELDS)
_COMPLAINT = (
    r"(?:extra (?:inputs|fields) (?:are )?not permitted|unexpected keyword|unrecognized|unknown"
    r"|unsupported|not supported|does(?: not|n't) support|not allowed|not permitted|input should be"
    r"|input tag|should match|extra_forbidden)"
)
_FIELD = re.compile(
    rf"{_PLACE}({_NAMES})\b(?!-)(?:.{{0,200}}?{_COMPLAINT})"
    rf"|{_COMPLAINT}.{{0,100}}?{_PLACE}({_NAMES})\b",
    re.IGNORECASE | re.DOTALL,
)
# What servers that translate call the two fields that it may have come from.
_EFFORT = re.compile(rf"{_COMPLAINT}.{{0,100}}?reasoning[._]effort", re.IGNORECASE | re.DOTALL)
_PATTERNS = {
    name: re.compile("|".join(wordings), re.IGNORECASE | re.DOTALL)
    for name, wordings in _WORDINGS.items()
}

MAX_SAID_CHARS = 4000  # an explanation is shorter; patterns see no more


def concession(said: str, conceded: Collection[str], *, known: Collection[str] = ALL) -> str:
    """What to do without, so that a refusal with this text may not come again; empty for nothing.

    `known` are the concessions that may be made to this upstream, `conceded` those made already.
    """
    said = said[:MAX_SAID_CHARS]
    possible = [name for name in known if name not in conceded]
    for name in (THINKING_SIGNATURES, SYSTEM_ROLE):
        if _PATTERNS[name].search(said):
            return name if name in possible else ""
    if _EFFORT.search(said):
        return next((name for name in ("output_config", "thinking") if name in possible), "")
    for match in _FIELD.finditer(said):
        field = (match[1] or match[2]).lower()
        if field in possible:
            return field
    return ""


def conceding(body: JSONObject, conceded: Collection[str]) -> JSONObject:
    """The body without all that has been conceded; the same object where it holds none of it."""
    if THINKING_SIGNATURES in conceded:
        body = without_thinking(body)
    if SYSTEM_ROLE in conceded:
        body = with_system_folded(body)
    return without_fields(body, [name for name in FIELDS if name in conceded])
