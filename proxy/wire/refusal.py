"""What other servers say instead of an answer, put into the shape of the Messages API's errors."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

# "Errors" in Anthropic's documentation; clients know no other.
KINDS = frozenset(
    {
        "api_error",
        "authentication_error",
        "billing_error",
        "conflict_error",
        "invalid_request_error",
        "memory_path_conflict_error",
        "memory_precondition_failed_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    }
)

_BY_STATUS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# What servers call their errors, by a part of the name. The first that fits counts.
_BY_WORD = {
    "ratelimit": "rate_limit_error",
    "insufficientquota": "rate_limit_error",
    "overload": "overloaded_error",
    "unavailable": "overloaded_error",
    "timeout": "timeout_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "notfound": "not_found_error",
    "invalidrequest": "invalid_request_error",
    "badrequest": "invalid_request_error",
    "contextwindow": "invalid_request_error",
    "contextlength": "invalid_request_error",
}

_STATUS = re.compile(r"[45]\d\d", re.ASCII)
_NOT_A_LETTER = re.compile(r"[^a-z]")
_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|body)\b", re.IGNORECASE)

MAX_TEXT_CHARS = 4000  # enough for any explanation; a web page or a stack trace is longer


class Refusal(NamedTuple):
    """The type and the text of an error, as clients of the Messages API know them."""

    kind: str
    text: str


def kind_of_status(status: int) -> str:
    """The error type that goes with an HTTP status."""
    return _BY_STATUS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")


def refusal(data: object, status: int = 500) -> Refusal | None:
    """The error that a decoded body or event holds in whatever shape, None where it holds none.

    `status` decides its type where the error itself does not say one that we know.
    """
    if not isinstance(data, Mapping):
        return None
    said = data.get("error")
    if isinstance(said, str) and isinstance(data.get("message"), str):
        said = data  # {"error": "Bad Gateway", "message": "..."}: the text is in the message
    if said is None and (data.get("type") == "error" or data.get("object") == "error"):
        said = data
    if said is None and "detail" in data and "type" not in data:
        said = {"message": _detail(data["detail"])}
    if not said:
        return None
    fields = said if isinstance(said, Mapping) else {"message": said}
    text = _text(fields.get("message") or fields.get("detail")) or "The upstream gave no reason."
    return Refusal(_kind(fields, status), text)


def is_right(data: object) -> bool:
    """Whether this is an error exactly as the Messages API says it."""
    if not isinstance(data, Mapping) or data.get("type") != "error":
        return False
    said = data.get("error")
    if not isinstance(said, Mapping) or not isinstance(said.get("message"), str):
        return False
    return isinstance(said.get("type"), str) and said["type"] in KINDS


def repaired_error(status: int, body: bytes) -> bytes:
    """The body of an HTTP error as the Messages API says it; unchanged where it already is."""
    try:
        data = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        data = None
    if is_right(data):
        return body
    if isinstance(data, Mapping) and "message" in data:
        data = {"type": "error"} | dict(data)  # {"message": ..}: in an answer it would say nothing
    said = refusal(data, status) or Refusal(kind_of_status(status), _plain(status, body))
    error = {"type": said.kind, "message": said.text}
    return msgspec.json.encode({"type": "error", "error": error})


def _kind(fields: Mapping[str, Any], status: int) -> str:
    """The error type of what a server calls its error: by its name, then by its number."""
    names = [name for key in ("type", "code") if isinstance(name := fields.get(key), str)]
    for name in names:
        if name in KINDS:
            return name
        letters = _NOT_A_LETTER.sub("", name[:100].lower())
        for word, kind in _BY_WORD.items():
            if word in letters:
                return kind
    code = fields.get("code")
    number = int(str(code)) if _STATUS.fullmatch(str(code)) else status
    return kind_of_status(number)


def _text(value: object) -> str:
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:MAX_TEXT_CHARS]


def _detail(detail: object) -> object:
    """The complaints of a FastAPI server, each in the Messages API's wording: path, colon, text."""
    if not isinstance(detail, list):
        return detail
    complaints = [_complaint(item) for item in detail[:20] if isinstance(item, Mapping)]
    return "; ".join(complaints)


def _complaint(item: Mapping[str, Any]) -> str:
    where = item.get("loc")
    path = [str(part) for part in where] if isinstance(where, list) else []
    if path[:1] == ["body"]:
        path = path[1:]
    text = _text(item.get("msg"))
    return f"{'.'.join(path)}: {text}" if path else text


def _plain(status: int, body: bytes) -> str:
    """One sentence for a body that is no JSON, or none that says anything."""
    if _WEB_PAGE.match(body):
        title = _TITLE.search(body, 0, 10_000)
        named = f": {' '.join(title[1].decode(errors='replace').split())}" if title else ""
        return f"The upstream answered {status} with a web page{named}."
    text = body[:MAX_TEXT_CHARS].decode(errors="replace").strip()
    return text or f"The upstream answered {status} and gave no reason."
