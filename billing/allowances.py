"""What is used and held of a day or month: reserve before the work, settle after it.

Each reservation is one conditional UPDATE that may lose; `together` has one for many. All of this
runs in the writer's thread and transaction, together with the ledger row that it is for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, Sum

from accounts.models import ApiKey
from billing.models import Allowance, UsageRollup
from billing.plans import Limits

_TABLE = Allowance._meta.db_table
_COUNTS = "requests, tokens, tokens_held, cost_nano, cost_held_nano"
MOST_KEPT = 2_000  # subjects whose allowances of today are known: about a megabyte
ORGANIZATION = "organization"  # the subject of an organization's own caps


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One allowance and what may be used of it. None: not limited."""

    id: str
    organization_id: UUID
    subject: str
    period: str
    requests: int | None = None
    tokens: int | None = None
    cost_nano: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request may use at most, and of which allowances."""

    bounds: Sequence[Bound]
    tokens: int
    cost_nano: int
    input_tokens: int = 0  # of the tokens
    overdraft: bool = False  # the one that uses up what is left may use more than that


class Whole(NamedTuple):
    """What some requests may use together, in the order in which they came."""

    requests: int = 0
    tokens: int = 0
    cost_nano: int = 0
    last_tokens: int = 0  # of the tokens those of the last one
    last_cost_nano: int = 0

    def with_one(self, wanted: Reservation) -> "Whole":
        """The same and one request more."""
        return Whole(
            self.requests + 1,
            self.tokens + wanted.tokens,
            self.cost_nano + wanted.cost_nano,
            wanted.tokens,
            wanted.cost_nano,
        )


class Counts(NamedTuple):
    """An allowance as it stands."""

    requests: int = 0
    tokens: int = 0
    tokens_held: int = 0
    cost_nano: int = 0
    cost_held_nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The allowances after the reservation, this request included."""

    counts: Mapping[str, Counts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The bound that has no room, and how it stands. Nothing was reserved."""

    bound: Bound
    counts: Counts


@lru_cache(maxsize=MOST_KEPT)
def bounds(organization_id: UUID, subject: str, limits: Limits, day: date) -> tuple[Bound, ...]:
    """The allowances that these limits need on that day (UTC)."""
    found = []
    if limits.counts_days:
        found.append(
            _bound(
                organization_id,
                subject,
                f"{day:%Y-%m-%d}",
                requests=limits.requests_per_day,
                tokens=limits.tokens_per_day,
                cost_nano=limits.cost_per_day_nano,
            )
        )
    if limits.counts_months:
        found.append(
            _bound(organization_id, subject, f"{day:%Y-%m}", cost_nano=limits.cost_per_month_nano)
        )
    return tuple(found)


def _bound(organization_id: UUID, subject: str, period: str, **most: int | None) -> Bound:
    return Bound(
        id=f"{organization_id.hex}/{subject}/{period}",
        organization_id=organization_id,
        subject=subject,
        period=period,
        **most,
    )


def reserve(cursor: Any, wanted: Reservation) -> Granted | Denied:
    """Take what the request may use of every allowance, or of none."""
    whole = Whole().with_one(wanted)
    taken: dict[str, Counts] = {}
    for bound in wanted.bounds:
        counts = take(cursor, bound, whole, overdraft=wanted.overdraft)
        if counts is None and _make(cursor, bound):
            counts = take(cursor, bound, whole, overdraft=wanted.overdraft)
        if counts is None:
            for allowance_id in taken:
                give_back(cursor, allowance_id, whole)
            return Denied(bound=bound, counts=_counts(cursor, bound.id))
        taken[bound.id] = counts
    return Granted(counts=taken)


def take(cursor: Any, bound: Bound, whole: Whole, *, overdraft: bool) -> Counts | None:
    """The allowance afterwards. None: it has no row yet, or no room for them all."""
    statement, names = _taking(
        bound.requests is not None,
        bound.tokens is not None,
        bound.cost_nano is not None,
        overdraft,
    )
    most = {
        "requests": bound.requests,
        "tokens": bound.tokens,
        "cost": bound.cost_nano,
        "count": whole.requests,
        "need": whole.tokens,
        "price": whole.cost_nano,
        "need before": whole.tokens - whole.last_tokens,
        "price before": whole.cost_nano - whole.last_cost_nano,
    }
    values = (whole.requests, whole.tokens, whole.cost_nano, bound.id)
    cursor.execute(statement, (*values, *(most[name] for name in names)))
    row = cursor.fetchone()
    return None if row is None else Counts(*row)


@cache
def _taking(requests: bool, tokens: bool, cost: bool, overdraft: bool) -> tuple[str, list[str]]:
    """The conditional UPDATE for these limits, and the values of its conditions.

    With an overdraft the last one may begin while anything is left.
    """
    conditions, values = ["id = %s"], []
    if requests:
        conditions.append("requests + %s <= %s")
        values += ["count", "requests"]
    if tokens:
        sign = "<" if overdraft else "<="
        conditions.append(f"tokens + tokens_held + %s {sign} %s")
        values += ["need before" if overdraft else "need", "tokens"]
    if cost:
        sign = "<" if overdraft else "<="
        conditions.append(f"cost_nano + cost_held_nano + %s {sign} %s")
        values += ["price before" if overdraft else "price", "cost"]
    statement = (
        f"UPDATE {_TABLE} SET requests = requests + %s, tokens_held = tokens_held + %s,"  # noqa: S608  (names of ours)
        f" cost_held_nano = cost_held_nano + %s WHERE {' AND '.join(conditions)}"
        f" RETURNING {_COUNTS}"
    )
    return statement, values


def _make(cursor: Any, bound: Bound) -> bool:
    """Add the row of a new day or month, or of a limit that is new, with what was used before.

    False: it was there, so the limit is what refused.
    """
    organization = bound.organization_id
    before = used_before(organization, bound.subject, bound.period)
    cursor.execute(
        f"INSERT INTO {_TABLE} (id, organization_id, subject, period, {_COUNTS})"  # noqa: S608  (names of ours)
        " VALUES (%s, %s, %s, %s, %s, %s, 0, %s, 0) ON CONFLICT (id) DO NOTHING",
        (
            bound.id,
            organization if connection.features.has_native_uuid_field else organization.hex,
            bound.subject,
            bound.period,
            before.requests,
            before.tokens,
            before.cost_nano,
        ),
    )
    return bool(cursor.rowcount)


def used_before(organization_id: UUID, subject: str, period: str) -> Counts:
    """What closed requests of the period have used, by the sums of the ledger."""
    kind, starts_at = _sum_of(period)
    sums = UsageRollup.objects.filter(
        _whose(subject), kind=kind, organization_id=organization_id, starts_at=starts_at
    ).aggregate(
        all_requests=Sum("requests"),
        all_tokens=Sum(
            F("input_tokens")
            + F("output_tokens")
            + F("cache_write_5m_tokens")
            + F("cache_write_1h_tokens")
        ),
        all_cost=Sum("cost_nano"),
    )
    return Counts(
        requests=sums["all_requests"] or 0,
        tokens=sums["all_tokens"] or 0,
        cost_nano=sums["all_cost"] or 0,
    )


def _sum_of(period: str) -> tuple[str, datetime]:
    """The kind of sum that a day or a month is, and when it begins."""
    if len(period) > len("2026-11"):
        day = datetime.strptime(period, "%Y-%m-%d").replace(tzinfo=UTC)
        return UsageRollup.Kind.DAY, day
    return UsageRollup.Kind.MONTH, datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)


def _whose(subject: str) -> Q:
    kind, _, name = subject.partition(":")
    if kind == ORGANIZATION:
        return Q()
    if kind == "key":
        return Q(api_key_id=name)
    own = ApiKey.objects.filter(user_id=int(name), is_service=True)  # these stand for themselves
    return Q(user_id=int(name)) & ~Q(api_key_id__in=own.values("id"))


def give_back(cursor: Any, allowance_id: str, whole: Whole) -> None:
    """Undo a `take`, in the same transaction."""
    cursor.execute(
        f"UPDATE {_TABLE} SET requests = requests - %s, tokens_held = tokens_held - %s,"  # noqa: S608  (names of ours)
        " cost_held_nano = cost_held_nano - %s WHERE id = %s",
        (whole.requests, whole.tokens, whole.cost_nano, allowance_id),
    )


def _counts(cursor: Any, allowance_id: str) -> Counts:
    cursor.execute(f"SELECT {_COUNTS} FROM {_TABLE} WHERE id = %s", (allowance_id,))  # noqa: S608  (names of ours)
    row = cursor.fetchone()
    return Counts(*row) if row else Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a request held of its allowances, and what it has used in the end."""

    allowances: Sequence[str]
    tokens: int
    tokens_held: int
    cost_nano: int
    cost_held_nano: int


def settle(cursor: Any, releases: Iterable[Release]) -> None:
    """Give back what was held and note what was used, one UPDATE for each allowance."""
    sums: dict[str, list[int]] = {}
    for one in releases:
        for allowance_id in one.allowances:
            total = sums.setdefault(allowance_id, [0, 0, 0, 0])
            total[0] += one.tokens
            total[1] += one.tokens_held
            total[2] += one.cost_nano
            total[3] += one.cost_held_nano
    if sums:
        cursor.executemany(
            f"UPDATE {_TABLE} SET tokens = tokens + %s, tokens_held = tokens_held - %s,"  # noqa: S608  (names of ours)
            " cost_nano = cost_nano + %s, cost_held_nano = cost_held_nano - %s WHERE id = %s",
            [(*total, allowance_id) for allowance_id, total in sorted(sums.items())],
        )
