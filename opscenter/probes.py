"""`/healthz` and `/readyz`: what a machine asks to restart this process, or to send requests to it.

On the event loop, without Django's handler: a probe must not queue behind the pages' threads.
"""

from collections.abc import Mapping

import msgspec

from opscenter import readiness
from opscenter.intake import Receive, Scope, Send

ALIVE = "/healthz"
READY = "/readyz"
PATHS = frozenset({ALIVE, READY})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a probe. What is asked of the store, `readiness` bounds."""
    if scope["method"] not in {"GET", "HEAD"}:
        await answer(scope, send, 405, {"status": "ask with GET or HEAD"})
        return
    reason = await readiness.current.refusal() if scope["path"] == READY else ""
    if reason:
        await answer(scope, send, 503, {"status": "not ready", "reason": reason})
    else:
        await answer(scope, send, 200, {"status": "ready" if scope["path"] == READY else "alive"})


async def answer(scope: Scope, send: Send, status: int, said: Mapping[str, str]) -> None:
    """A whole JSON answer that nobody keeps."""
    content = msgspec.json.encode(said)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    body = b"" if scope["method"] == "HEAD" else content
    await send({"type": "http.response.body", "body": body})
