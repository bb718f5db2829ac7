"""Usage counted while a request runs, and settled once, whatever happens."""

import asyncio
import time
from collections.abc import Iterable

from accounts.principal import Principal
from billing import ledger
from billing.ledger import State
from proxy.meter import Meter
from proxy.routing import Target
from proxy.wire.body import MessagesRequest

SESSION_CHARS = 100  # as many as the ledger keeps, by which other workers know it
SESSION = b"x-claude-code-session-id"
_ATTRIBUTION = {
    SESSION: "session_id",
    b"x-claude-code-agent-id": "agent_id",
    b"x-claude-code-parent-agent-id": "parent_agent_id",
}


class Receipt:
    """What one request uses: opened by `opened`, closed by the first of its ends only."""

    __slots__ = (
        "_first",
        "_first_byte_ms",
        "_open",
        "_start",
        "attempts",
        "id",
        "meter",
        "status",
        "target",
        "upstream_request_id",
    )

    def __init__(self, request_id: ledger.RecordId, target: Target) -> None:
        self.id = request_id
        self._first = target
        self.target = target  # which one is asked just now
        self.attempts = 0
        self.meter = Meter()
        self.status: int | None = None
        self.upstream_request_id = ""
        self._start = time.monotonic()
        self._first_byte_ms: int | None = None
        self._open = True

    def see(self, block: bytes) -> None:
        """Count a block of whole events on its way to the client."""
        if self._first_byte_ms is None:
            self._first_byte_ms = self._elapsed_ms()
        self.meter.see(block)

    def turn_to(self, target: Target) -> None:
        """Another target is asked; what an earlier one has said does not count."""
        self.target = target
        self.attempts += 1
        self.meter = Meter()
        self._first_byte_ms = None
        self.status, self.upstream_request_id = None, ""

    @property
    def moved_from(self) -> str:
        """The upstream that would have answered; empty where it did, or was the only one."""
        first, last = self._first.upstream.name, self.target.upstream.name
        return first if first != last else ""

    def tell_move(self) -> None:
        """Let the other workers know where the session is before the request has ended."""
        ledger.move(self.id, upstream=self.target.upstream.name, moved_from=self.moved_from)

    def close(self, state: State, *, error_type: str = "") -> None:
        """Settle. Safe to call again, and from a request that is being cancelled."""
        if not self._open:
            return
        self._open = False
        meter = self.meter
        if meter.error is not None and not error_type:
            error_type = str(meter.error.get("type", ""))
        ledger.close(
            self.id,
            ledger.Closing(
                state=state,
                duration_ms=self._elapsed_ms(),
                upstream=self.target.upstream.name,
                target_model=self.target.model,
                own_credential=self.target.is_own,
                moved_from=self.moved_from,
                attempts=self.attempts,
                first_byte_ms=self._first_byte_ms,
                status=self.status,
                stop_reason=meter.stop_reason,
                error_type=error_type,
                message_id=meter.message_id,
                served_model=meter.model,
                upstream_request_id=self.upstream_request_id,
                usage=meter.usage,
            ),
        )

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._start) * 1000)


def session_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's session, empty where it names none."""
    found = (value.decode("latin-1") for name, value in headers if name == SESSION)
    return next(found, "")[:SESSION_CHARS]


async def opened(
    request_id: ledger.RecordId,
    request: MessagesRequest,
    caller: Principal,
    target: Target,
    headers: Iterable[tuple[bytes, bytes]],
) -> Receipt:
    """Write the request into the ledger first of all. Raises ledger.LedgerUnavailableError."""
    attribution = {
        _ATTRIBUTION[name]: value.decode("latin-1")
        for name, value in headers
        if name in _ATTRIBUTION
    }
    receipt = Receipt(request_id, target)
    try:
        await ledger.admit(
            ledger.Admission(
                id=request_id,
                organization_id=caller.organization_id,
                user_id=caller.user_id,
                api_key_id=caller.key_id,
                requested_model=request.model,
                target_model=target.model,
                upstream=target.upstream.name,
                own_credential=target.is_own,
                streamed=request.stream,
                **attribution,
            )
        )
    except BaseException as error:
        # The row may be on its way and cannot be called back.
        left = isinstance(error, asyncio.CancelledError)
        receipt.close(State.INTERRUPTED if left else State.FAILED)
        raise
    return receipt
