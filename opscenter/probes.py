"""`/healthz`, `/readyz` and `/metrics`: what machines ask of this process itself.

On the event loop, without Django's handler: a probe must not queue behind the pages' threads.
"""

import hmac
import ipaddress
from collections.abc import Mapping

import msgspec
from django.conf import settings

from opscenter import metrics, readiness
from opscenter.intake import Receive, Scope, Send

ALIVE = "/healthz"
READY = "/readyz"
METRICS = "/metrics"
PATHS = frozenset({ALIVE, READY, METRICS})
# Who forwards a request says so by one of them; then the address is not the asker's.
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_JSON = b"application/json"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a probe. What is asked of the store, `readiness` bounds."""
    if scope["method"] not in {"GET", "HEAD"}:
        await answer(scope, send, 405, {"status": "ask with GET or HEAD"})
        return
    if scope["path"] == METRICS:
        await _metrics(scope, send)
        return
    reason = await readiness.current.refusal() if scope["path"] == READY else ""
    if reason:
        await answer(scope, send, 503, {"status": "not ready", "reason": reason})
    else:
        await answer(scope, send, 200, {"status": "ready" if scope["path"] == READY else "alive"})


async def _metrics(scope: Scope, send: Send) -> None:
    if not may_scrape(scope):
        status = "show OPSCENTER_METRICS_TOKEN as a bearer token"
        if not settings.METRICS_TOKEN:
            status = "only this host itself may ask: set OPSCENTER_METRICS_TOKEN to let others"
        await answer(scope, send, 403, {"status": status})
        return
    await _whole(scope, send, 200, await metrics.text(), metrics.CONTENT_TYPE.encode())


def may_scrape(scope: Scope) -> bool:
    """Whether somebody may read the metrics: by the token, or without one from this host only."""
    names = {name for name, _ in scope["headers"]}
    if settings.METRICS_TOKEN:
        shown = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(shown, f"Bearer {settings.METRICS_TOKEN}".encode())
    peer, _ = scope.get("client") or ("", 0)
    try:
        is_here = ipaddress.ip_address(peer).is_loopback
    except ValueError:
        is_here = False
    return is_here and not names & _FORWARDED


async def answer(scope: Scope, send: Send, status: int, said: Mapping[str, str]) -> None:
    """A whole JSON answer that nobody keeps."""
    await _whole(scope, send, status, msgspec.json.encode(said), _JSON)


async def _whole(scope: Scope, send: Send, status: int, content: bytes, kind: bytes) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else content
    await send({"type": "http.response.body", "body": body})
