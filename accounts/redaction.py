"""Takes secrets out of what is about to be read: those that look like one, and those we hold.

Patterns alone miss what has no form of its own, known values alone what a client brought.
"""

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
LEAST_CHARS = 8  # shorter values stand in ordinary words, and no secret is so short

# Each keeps what stands before the secret. The id of one of our keys is public: it stays.
_PATTERNS = [
    (re.compile(r"(\bsk-uc-[0-9a-z]{12})-[0-9A-Za-z]{20,}"), r"\1-" + HIDDEN),
    (re.compile(r"\bsk-(?!uc-[0-9a-z]{12}\b)[0-9A-Za-z_-]{8,}"), HIDDEN),
    # A JWT. After a hyphen only a short one: strangers could have each of many scanned to the end.
    (
        re.compile(r"(?:(?<![\w-])eyJ[\w-]{5,}|(?<=-)eyJ[\w-]{5,400})\.[\w-]+(?:\.[\w-]*)?"),
        HIDDEN,
    ),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)(?!sk-uc-)(?!\[)[^\s'\",;]{6,}"), r"\1\2" + HIDDEN),
    (re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+(?=@)"), r"\1" + HIDDEN),  # a password in an address
    (
        re.compile(
            r"(?i)((?:x-api-key|api[_-]?key|sessionid|csrftoken|password|secret|token)"
            r"['\"]?\s*[=:]\s*b?['\"]?)(?!sk-uc-)(?!\[)[^\s'\",;&]{6,}"
        ),
        r"\1" + HIDDEN,
    ),
]

_known: dict[str, tuple[str, ...]] = {}


def know(source: str, values: Iterable[str]) -> None:
    """These are secrets, in place of those that `source` named before."""
    fit = {value for value in values if len(value) >= LEAST_CHARS}
    _known[source] = tuple(sorted(fit, key=len, reverse=True))  # one may be a part of another


def redacted(text: str) -> str:
    """The text for a log: without known secrets, and without what looks like one."""
    text = without_known(text)
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def without_known(text: str) -> str:
    """The text for a client: without the secrets that are ours."""
    for values in _known.values():
        for value in values:
            if value in text:
                text = text.replace(value, HIDDEN)
    return text


def body_without_known(body: bytes) -> bytes:
    """The same for a body of whatever bytes."""
    for values in _known.values():
        for value in values:
            secret = value.encode()
            if secret in body:
                body = body.replace(secret, HIDDEN.encode())
    return body
