"""One session with the gateway, whichever transport carries it, and what its end means."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Protocol

from opscenter_connector import cancelling, frames
from opscenter_connector.outbox import Outbox

log = logging.getLogger(__name__)

Take = Callable[[frames.FromGateway], None]

OPEN_TIMEOUT_S = 15.0  # for the connection, and again for the welcome
MAX_REASON = 300  # characters


class Meaning(Enum):
    """What the connector does about the end of a session."""

    AGAIN = "again"
    LATER = "later"  # too often: it is to wait a while
    NO_SOCKET = "no socket"  # something on the way does not let WebSockets through
    CREDENTIAL = "credential"
    VERSION = "version"
    DEFECT = "defect"
    FENCED = "fenced"


MEANINGS = {
    400: Meaning.DEFECT,
    401: Meaning.CREDENTIAL,
    403: Meaning.CREDENTIAL,
    406: Meaning.VERSION,
    409: Meaning.FENCED,
    413: Meaning.DEFECT,
    429: Meaning.LATER,
    1009: Meaning.DEFECT,
    4400: Meaning.DEFECT,
    4401: Meaning.CREDENTIAL,
    4403: Meaning.CREDENTIAL,
    4406: Meaning.VERSION,
    4409: Meaning.FENCED,
    4413: Meaning.DEFECT,
    4429: Meaning.LATER,
}  # all others: again
NO_UPGRADE = frozenset({404, 405, 426, 501})  # also from a gateway whose server has no WebSockets
AWAY = frozenset({502, 503, 504})  # what proxies say while nobody is behind them


class SessionEndError(Exception):
    """A session, or the attempt to open one, is over."""

    def __init__(
        self,
        reason: str,
        *,
        code: int | None = None,
        refused_upgrade: bool = False,
        stalled: bool = False,
        unreachable: bool = False,
        retry_after_s: float = 0.0,
        greeted: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.refused_upgrade = refused_upgrade  # by something that is not the gateway
        self.stalled = stalled  # connected, and nothing comes through
        self.unreachable = unreachable  # no connection at all
        self.retry_after_s = retry_after_s
        self.greeted = greeted  # `hello` was sent, so there may be a session after all

    @property
    def is_cut(self) -> bool:
        """Neither side's word: something on the way may not bear this transport."""
        return self.code is None and not self.unreachable

    @property
    def meaning(self) -> Meaning:
        if self.refused_upgrade:
            return Meaning.NO_SOCKET
        return MEANINGS.get(self.code or 0, Meaning.AGAIN)


class Session(Protocol):
    """An open session. `welcome` is what the gateway said to `hello`."""

    transport: str
    welcome: frames.Welcome

    async def work(self, take: Take, outbox: Outbox) -> None:
        """Carry frames both ways until it ends: always with SessionEndError."""

    async def close(self, reason: str) -> None:
        """Say bye, if that can still be said."""


class Opener(Protocol):
    """Opens a session over one transport, or raises SessionEndError."""

    async def __call__(self, hello: frames.Hello) -> Session: ...


def refusal(status: int, body: bytes, retry_after: str | None, *, upgrade: bool) -> SessionEndError:
    """What an HTTP answer that is no success means. Only the gateway's own is taken at its word.

    A proxy, too, answers 401, 403 or 409; the gateway's answers have a JSON body that says why.
    """
    said = _said(body)
    return SessionEndError(
        said or f"HTTP {status}, and not from the gateway: is its address right?",
        code=status if said else None,
        refused_upgrade=upgrade and (status in NO_UPGRADE or not (said or status in AWAY)),
        retry_after_s=_seconds(retry_after),
    )


def _said(body: bytes) -> str | None:
    """The gateway's reason, from the body of its refusal; None if it is not the gateway's."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    error = said.get("error")
    text = error.get("message") if isinstance(error, dict) else error
    text = text or said.get("detail") or said.get("reason")
    return str(text)[:MAX_REASON] if text else None


def _seconds(retry_after: str | None) -> float:
    """Of a Retry-After header; dates are not worth reading."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def read(said: Any) -> frames.FromGateway | None:
    """A frame; None for one that a newer gateway sends, which is logged and passed over."""
    try:
        return frames.from_gateway(said)
    except frames.FrameError as error:
        log.warning("a frame of the gateway is passed over: %s", error)
        return None


async def until_one_ends(*works: Coroutine[None, None, None]) -> None:
    """Run them together; when one returns or raises, stop the others and do the same."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelling.ended(*tasks)
    for task in done:
        task.result()
