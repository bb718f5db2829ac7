"""Usage counted while a request runs, and settled once, whatever happens."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from accounts import tags
from accounts.principal import Principal
from billing import lago, ledger, limits, tariff, terms, tokens
from billing.ledger import Admission, State
from billing.limits import Need
from billing.pricing import Charge
from billing.tariff import Tariff
from proxy import metrics, spans
from proxy.meter import Meter
from proxy.routing import Target
from proxy.wire import estimate
from proxy.wire.body import MessagesRequest

SESSION_CHARS = 100  # as many as the ledger keeps, by which other workers know it
SESSION = b"x-claude-code-session-id"
_AGENT = b"x-claude-code-agent-id"
_PARENT_AGENT = b"x-claude-code-parent-agent-id"
_TAGS = tags.HEADER.encode()
ATTRIBUTION = frozenset({SESSION, _AGENT, _PARENT_AGENT})
# Which program it was and what it asked of the API: no other header is kept.
KEPT = frozenset({b"user-agent", b"x-app", b"anthropic-version", b"anthropic-beta"})
_READ = ATTRIBUTION | KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Which part of a larger answer a request is."""

    parent_id: ledger.RecordId | None = None  # the first request for it
    follows: bool = False  # it is a further turn of it, and none of the client's haste
    agent: str = ""
    requested_model: str = ""  # as the client said it


class Receipt:
    """What one request uses: opened by `opened`, closed by the first of its ends only."""

    __slots__ = (
        "_admission",
        "_answer_bytes",
        "_first",
        "_first_byte_ms",
        "_open",
        "_prices",
        "_start",
        "attempts",
        "cost_nano",
        "headers",
        "id",
        "longest_silence_ms",
        "meter",
        "stalled_s",
        "stalls",
        "status",
        "target",
        "upstream_request_id",
    )

    def __init__(self, admission: Admission, target: Target, prices: Tariff) -> None:
        self.id = admission.id
        self.headers: dict[str, str] = {}  # what the client is told of its limits
        self._admission = admission
        self._prices = prices
        self._first = target
        self.target = target  # which one is asked just now
        self.attempts = 0
        self.cost_nano = 0  # once it is closed
        self.meter = Meter()
        self.status: int | None = None
        self.upstream_request_id = ""
        self._start = time.monotonic()
        self._first_byte_ms: int | None = None
        self.longest_silence_ms: int | None = None  # of the upstream, inside a stream
        self._answer_bytes = 0
        self.stalls = 0  # silences of sse.STALL_S and longer among them
        self.stalled_s = 0.0
        self._open = True

    def see(self, block: bytes) -> None:
        """Count a block of whole events on its way to the client."""
        if self._first_byte_ms is None:
            self._first_byte_ms = self._elapsed_ms()
        self._answer_bytes += len(block)
        self.meter.see(block)

    def see_whole(self, body: bytes) -> None:
        """Count an answer that is not streamed."""
        self._answer_bytes = len(body)
        self.meter.see_message(body)

    @property
    def has_begun(self) -> bool:
        """Whether the answer has."""
        return self._first_byte_ms is not None

    def turn_to(self, target: Target) -> None:
        """Another target is asked; what an earlier one has said does not count."""
        self.target = target
        self.attempts += 1
        self.meter = Meter()
        self._first_byte_ms = None
        self._answer_bytes = 0
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
        settled = tokens.settled(
            meter.usage,
            expected_input=self._admission.expected_input_tokens,
            seen_output=meter.seen_tokens,
            is_whole=meter.is_whole,
            has_final=meter.has_final,
            was_left=state == State.INTERRUPTED and self.attempts > 0,
        )
        charge = _charge(self._prices, self._admission, self.target, meter.model)
        self.cost_nano = charge.price.cost(settled.counts) if charge else 0
        duration_ms = self._elapsed_ms()
        metrics.ended(
            metrics.Ended(
                upstream=self.target.upstream.name,
                route=self.target.route,
                state=state,
                duration_ms=duration_ms,
                first_byte_ms=self._first_byte_ms,
                counts=settled.counts,
                cost_nano=self.cost_nano,
                was_moved=bool(self.moved_from),
                stalls=self.stalls,
                stalled_s=self.stalled_s,
            )
        )
        closing = ledger.Closing(
            state=state,
            duration_ms=duration_ms,
            upstream=self.target.upstream.name,
            target_model=self.target.model,
            route=self.target.route,
            own_credential=self.target.is_own,
            moved_from=self.moved_from,
            attempts=self.attempts,
            first_byte_ms=self._first_byte_ms,
            longest_silence_ms=self.longest_silence_ms,
            answer_bytes=self._answer_bytes or None,
            status=self.status,
            stop_reason=meter.stop_reason,
            error_type=error_type,
            message_id=meter.message_id,
            served_model=meter.model,
            upstream_request_id=self.upstream_request_id,
            usage=meter.usage,
            settled=settled,
            tool_calls=meter.tool_calls,
            charge=charge,
            metered=_is_metered(self.target),
        )
        ledger.close(self._admission, closing)
        spans.ended(self._admission, closing, self.cost_nano)

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._start) * 1000)


def session_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's session, empty where it names none."""
    found = (value.decode("latin-1") for name, value in headers if name == SESSION)
    return next(found, "")[:SESSION_CHARS]


def _charge(
    prices: Tariff, admission: Admission, target: Target, served_model: str = ""
) -> Charge | None:
    """What to charge by; nothing where the organization pays the upstream itself."""
    if target.is_own:
        return None
    return prices.charge(
        (target.model, served_model),
        upstream=target.upstream.name,
        organization_id=admission.organization_id,
        at=admission.admitted_at,
    )


def _is_metered(target: Target) -> bool:
    """Whether we tell Lago of what is used there."""
    return lago.is_configured() and not target.upstream.meters_itself


def tags_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """What the client tags the request with, in one line or several. Raises tags.TagsError."""
    lines = [value.decode("latin-1") for name, value in headers if name == _TAGS]
    return tags.parse(",".join(lines)) if lines else ()


async def opened(
    request_id: ledger.RecordId,
    request: MessagesRequest,
    caller: Principal,
    targets: Sequence[Target],
    headers: Iterable[tuple[bytes, bytes]],
    step: Step | None = None,
) -> Receipt:
    """Find room in the caller's limits and write the request into the ledger first of all.

    Raises tags.TagsError, what limits.prepared and limits.admit do, and
    accounts.reads.DatabaseAwayError.
    """
    agreed = await terms.of(caller.organization_id)
    prices = await tariff.current()
    need = Need(input_tokens=estimate.expected_input(request.body), max_tokens=request.max_tokens)
    target = targets[0]
    admission = _admission(request_id, request, caller, target, headers, need)
    if step is not None:
        admission = replace(
            admission,
            parent_id=step.parent_id,
            follows=step.follows,
            agent=step.agent,
            requested_model=step.requested_model,
        )
    charges = [charge for one in targets if (charge := _charge(prices, admission, one))]
    admission = limits.prepared(admission, caller.subject, agreed, need, charges)
    receipt = Receipt(admission, target, prices)
    try:
        receipt.headers = await limits.admit(admission, caller.subject, agreed)
    except (limits.LimitReachedError, limits.BillingSickError):
        raise  # there is no row to close
    except BaseException as error:
        # The row may be on its way and cannot be called back.
        left = isinstance(error, asyncio.CancelledError)
        receipt.close(State.INTERRUPTED if left else State.FAILED)
        raise
    return receipt


def _admission(
    request_id: ledger.RecordId,
    request: MessagesRequest,
    caller: Principal,
    target: Target,
    headers: Iterable[tuple[bytes, bytes]],
    need: Need,
) -> Admission:
    told = {name: value.decode("latin-1") for name, value in headers if name in _READ}
    return Admission(
        id=request_id,
        organization_id=caller.organization_id,
        user_id=caller.user_id,
        api_key_id=caller.key_id,
        requested_model=request.model,
        target_model=target.model,
        upstream=target.upstream.name,
        route=target.route,
        own_credential=target.is_own,
        streamed=request.stream,
        tags=tags_of(headers) or caller.tags,
        metered=_is_metered(target),
        session_id=told.get(SESSION, ""),
        agent_id=told.get(_AGENT, ""),
        parent_agent_id=told.get(_PARENT_AGENT, ""),
        request_bytes=len(request.body.raw),
        expected_input_tokens=need.input_tokens,
        headers={name.decode(): told[name] for name in told.keys() & KEPT},
    )
