"""What was charged by the default, charged again once its model has a price.

No row is edited: each gets one correction, which holds the difference.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing import alarms, tariff
from billing import corrections as ledger_corrections
from billing.models import UsageRecord
from billing.pricing import PriceVersion
from billing.tariff import Tariff
from billing.tokens import TokenCounts

BATCH = 500  # rows locked at once; the writer must get its turn at them too
FLAG = "rerated"

_State = UsageRecord.State
_CLASSES = (
    *("input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_5m_tokens", "cache_write_1h_tokens", "server_tool_uses"),
)
Model = tuple[str, str]  # the name that was asked for, and at which upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which rows are looked at, and as of when they are priced."""

    since: datetime | None = None  # by when they were admitted
    until: datetime | None = None  # exclusive
    model: str = ""  # as it was asked for or served; empty: any
    at_present_prices: bool = False  # else those of when they were admitted


@dataclass(slots=True)
class Moved:
    """How many rows of a model were corrected, and what they cost before and after."""

    rows: int = 0
    before_nano: int = 0
    after_nano: int = 0


@dataclass(slots=True)
class Outcome:
    """What a run did, or would do."""

    moved: dict[Model, Moved] = field(default_factory=dict)
    unknown: Counter[Model] = field(default_factory=Counter)  # rows whose model has no price yet


def rerated(scope: Scope, *, dry_run: bool = False) -> Outcome:
    """Append a correction to every row in scope whose model has a price. Run again, it adds none.

    Two runs at once share the work: each row is locked, and looked at again, before it is done.
    """
    prices = tariff.read()
    outcome = Outcome()
    for ids in _batches(scope):
        with transaction.atomic():
            corrections = _corrections(ids, prices, scope, outcome)
            if not dry_run:
                ledger_corrections.append(corrections)
    if not dry_run:
        _resolve(outcome.moved)
    return outcome


def correction_id(record_id: uuid.UUID) -> uuid.UUID:
    """The id of the one correction that a row may get here: a second would have the same.

    It lies beside the row's own: a UUIDv7 of the same millisecond.
    """
    low = int.from_bytes(sha256(record_id.bytes + FLAG.encode()).digest()[:10], "big")
    value = record_id.int >> 80 << 80 | low
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def _batches(scope: Scope) -> Iterator[list[uuid.UUID]]:
    """The ids of what may need a correction, the oldest first."""
    waiting = _waiting(scope).order_by("admitted_at", "id").values_list("admitted_at", "id")
    page = list(waiting[:BATCH])
    while page:
        yield [record_id for _, record_id in page]
        # Not simply the next that wait: those that nobody can price yet are still among them.
        at, record_id = page[-1]
        behind = Q(admitted_at__gt=at) | Q(admitted_at=at, id__gt=record_id)
        page = list(waiting.filter(behind, admitted_at__gte=at)[:BATCH])


def _resolve(models: Iterable[Model]) -> None:
    """Take away the alarms of models of which no row is unpriced any more."""
    for target_model, upstream in models:
        left = _waiting(Scope()).filter(target_model=target_model, upstream=upstream)
        if not left.exists():
            alarms.resolve(alarms.Code.UNKNOWN_PRICE, alarms.unpriced(target_model, upstream))


def _waiting(scope: Scope) -> QuerySet[UsageRecord]:
    # What was asked with the organization's own credential costs nothing here.
    found = UsageRecord.objects.filter(unpriced=True, own_credential=False)
    found = found.exclude(state__in=[_State.ADMITTED, _State.CORRECTION])
    if scope.since is not None:
        found = found.filter(admitted_at__gte=scope.since)
    if scope.until is not None:
        found = found.filter(admitted_at__lt=scope.until)
    if scope.model:
        found = found.filter(Q(target_model=scope.model) | Q(served_model=scope.model))
    done = UsageRecord.objects.filter(state=_State.CORRECTION, flags__contains=FLAG)
    return found.exclude(Exists(done.filter(corrects=OuterRef("pk"))))


def _corrections(
    ids: Sequence[uuid.UUID], prices: Tariff, scope: Scope, outcome: Outcome
) -> list[UsageRecord]:
    """Lock the rows, and say what each of them needs that nobody has corrected meanwhile."""
    rows = list(UsageRecord.objects.select_for_update().filter(id__in=ids).order_by("id"))
    earlier: dict[uuid.UUID | None, list[UsageRecord]] = {}
    for correction in UsageRecord.objects.filter(state=_State.CORRECTION, corrects__in=ids):
        earlier.setdefault(correction.corrects_id, []).append(correction)
    now = datetime.now(UTC)
    corrections = []
    for row in rows:
        former = earlier.get(row.id, [])
        if any(FLAG in correction.flags for correction in former):
            continue
        model = (row.target_model, row.upstream)
        charge = prices.charge(
            (row.target_model, row.served_model),
            upstream=row.upstream,
            organization_id=row.organization_id,
            at=now if scope.at_present_prices else row.admitted_at,
        )
        if not charge.is_known:
            outcome.unknown[model] += 1
            continue
        before, after = _costs(row, former, charge.price)
        corrections.append(_correction(row, after - before, charge.price, now))
        moved = outcome.moved.setdefault(model, Moved())
        moved.rows += 1
        moved.before_nano += before
        moved.after_nano += after
    return corrections


def _costs(
    row: UsageRecord, earlier: Sequence[UsageRecord], price: PriceVersion
) -> tuple[int, int]:
    """What the row was charged with all its corrections, and what it costs by the price."""
    rows = (row, *earlier)
    used = {name: sum(getattr(each, name) for each in rows) for name in _CLASSES}
    return sum(each.cost_nano for each in rows), price.cost(TokenCounts(**used))


def _correction(
    row: UsageRecord, cost_nano: int, price: PriceVersion, now: datetime
) -> UsageRecord:
    return UsageRecord(
        id=correction_id(row.id),
        state=_State.CORRECTION,
        corrects=row,
        flags=FLAG,
        cost_nano=cost_nano,
        price_id=price.id,
        admitted_at=now,
        closed_at=now,
        organization_id=row.organization_id,
        user_id=row.user_id,
        api_key_id=row.api_key_id,
        agent=row.agent,
        tags=row.tags,
        session_id=row.session_id,
        agent_id=row.agent_id,
        parent_agent_id=row.parent_agent_id,
        requested_model=row.requested_model,
        target_model=row.target_model,
        served_model=row.served_model,
        upstream=row.upstream,
        route=row.route,
        own_credential=row.own_credential,
        streamed=row.streamed,
    )
