"""A request's body, in memory, within bounds: what Django itself would spool to disk unseen."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

from proxy.errors import RefusedError
from proxy.patience import Patience

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_HEADERS = 200  # Claude Code sends about 25
MAX_HEADER_BYTES = 32 * 1024  # all names and values together; the usual bound of proxies
# A client that sends too much is read on for a while: one that is cut off never sees why.
READ_ON_BYTES = 64 * 1024 * 1024


class ClientLeftError(Exception):
    """Nobody is there to answer."""


async def read_body(
    scope: Scope, receive: Receive, *, limit: int, within_s: float = float("inf")
) -> bytes:
    """The whole body of at most `limit` bytes. Raises RefusedError past it, ClientLeftError.

    It has settings.BODY_TOTAL_S, or less where `within_s` says so.
    """
    declared = _declared_length(scope)
    chunks: list[bytes] = []
    size = 0
    patience = Patience(settings.BODY_IDLE_S, in_all_s=min(settings.BODY_TOTAL_S, within_s))
    more = True
    try:
        while more and max(size, declared) <= limit + READ_ON_BYTES:
            message = await patience.wait(receive())
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            part = message.get("body", b"")
            size += len(part)
            if size <= limit:
                chunks.append(part)
            more = message.get("more_body", False)
    except TimeoutError:
        text = "The rest of the request body did not arrive in time."
        raise RefusedError(408, "timeout_error", text) from None
    finally:
        patience.end()
    if size > limit or declared > limit:
        raise RefusedError(
            413,
            "request_too_large",
            f"The request body is larger than {limit} bytes.",
        )
    return b"".join(chunks)


def _declared_length(scope: Scope) -> int:
    """The content-length, 0 where there is none. Raises RefusedError for headers we do not take."""
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        _refuse_headers(f"The request has more than {MAX_HEADERS} headers.")
    length = total = 0
    for name, value in headers:
        total += len(name) + len(value)
        if name == b"content-length" and value.isdigit():
            length = int(value[:19])
        elif name == b"content-encoding" and value.lower() not in {b"", b"identity"}:
            coding = value[:50].decode("ascii", "replace")
            raise RefusedError(
                415,
                "invalid_request_error",
                f"content-encoding: {coding} is not supported; send plain bytes.",
            )
    if total > MAX_HEADER_BYTES:
        _refuse_headers(f"The request's headers are larger than {MAX_HEADER_BYTES} bytes together.")
    return length


def _refuse_headers(text: str) -> None:
    raise RefusedError(431, "invalid_request_error", text)
