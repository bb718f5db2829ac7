"""The ledger and Lago side by side: what is at one and not at the other, and where they differ.

One organization and one stretch of time after the other, so that memory does not grow with the
ledger. What seems to differ is looked at again, for requests go on meanwhile.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet, Sum

from accounts import audit
from accounts.models import Organization
from billing import events, export, lago, settling
from billing.lago_report import MOST_LISTED, Report
from billing.models import OutboxEvent, UsageRecord

MOST_ROWS = 10_000  # of the ledger in memory
SHORTEST = timedelta(seconds=1)  # a stretch that is not halved any more
ASKED_AT_ONCE = 500  # rows in one question to the database
MOST_TRIES = 3  # for sums that change while they are read
NANO = Decimal(10) ** 9
REQUEUED = "outbox.requeued"
State = UsageRecord.State
USED = (
    *("input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_5m_tokens", "cache_write_1h_tokens", "server_tool_uses"),
)


def run(client: lago.Client, since: datetime, until: datetime, *, requeue: bool = False) -> Report:
    """Compare the rows admitted from `since` to before `until`. Raises LagoError.

    `requeue` puts what Lago does not have into the outbox again, under the same names.
    """
    report = Report(earlier=_earlier(since, until))
    for organization_id in Organization.objects.order_by("id").values_list("id", flat=True):
        subscription = export.subscriptions({organization_id})[organization_id]
        comparison = Comparison(client, report, organization_id, subscription, requeue=requeue)
        for start, end in stretches(comparison.rows(since, until), since, until):
            comparison.compare(start, end)
        comparison.compare_usage()
    _compare_sums(report)
    return report


def _compare_sums(report: Report) -> None:
    """The cost of all that is at Lago, in its numbers and in ours."""
    ours = Decimal(report.cost_nano) / NANO / events.billed_by(settings.LAGO_EVENT_PROPERTIES)[1]
    if ours != report.billed:
        report.sums.add(f"all events together: {report.billed} at Lago, {ours} here")


def stretches(
    rows: QuerySet[UsageRecord], start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The time cut into parts of at most MOST_ROWS rows each."""
    few = rows.filter(admitted_at__gte=start, admitted_at__lt=end)[: MOST_ROWS + 1].count()
    if few <= MOST_ROWS or end - start <= SHORTEST:
        yield start, end
        return
    middle = start + (end - start) / 2
    yield from stretches(rows, start, middle)
    yield from stretches(rows, middle, end)


class Comparison:
    """One organization's ledger and its subscription at Lago."""

    def __init__(
        self,
        client: lago.Client,
        report: Report,
        organization_id: UUID,
        subscription: str,
        *,
        requeue: bool = False,
    ) -> None:
        self._client = client
        self._report = report
        self._organization_id = organization_id
        self._subscription = subscription
        self._requeue = requeue

    def rows(self, since: datetime, until: datetime) -> QuerySet[UsageRecord]:
        """The rows that Lago is told of. What is under way has no event yet."""
        return UsageRecord.objects.filter(
            organization_id=self._organization_id,
            metered=True,
            admitted_at__gte=since,
            admitted_at__lt=until,
        ).exclude(state=State.ADMITTED)

    def compare(self, start: datetime, end: datetime) -> None:
        """Compare one stretch of time."""
        rows = {row.id.hex: row for row in self.rows(start, end).iterator(chunk_size=2000)}
        self._report.rows += len(rows)
        seen = self._read_lago(rows, start, end)
        absent = [rows[name] for name in rows.keys() - seen]
        waiting = _waiting(absent)
        missing = [row.id for row in absent if self._is_missing(row, waiting.get(row.id))]
        if self._requeue and missing:
            self._queue(missing)

    def _queue(self, record_ids: list[UUID]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            settling.queue(cursor, record_ids)
            told = {"count": len(record_ids)}
            audit.record(REQUEUED, "outbox", audit.SYSTEM, None, told)
        self._report.requeued += len(record_ids)

    def _read_lago(
        self, rows: Mapping[str, UsageRecord], start: datetime, end: datetime
    ) -> set[str]:
        """The names of the rows that Lago has, each compared with what it has."""
        seen: dict[str, str] = {}
        # Lago keeps milliseconds, and `end` itself belongs to the next stretch.
        first = start.replace(microsecond=start.microsecond // 1000 * 1000)
        for stored in self._client.stored(self._subscription, settings.LAGO_EVENT_CODE, first, end):
            name = stored.transaction_id
            row = rows.get(name)
            if row is None:
                if first <= stored.at < end:
                    self._unknown(stored)
                continue
            if name not in seen:
                seen[name] = stored.lago_id
                self._report.at_lago += 1
                self._compare_one(row, stored)
            elif seen[name] != stored.lago_id:  # the same one is only a page that has moved
                self._report.twice.add(_told(row))
        return set(seen)

    def _compare_one(self, row: UsageRecord, stored: lago.Stored) -> None:
        ours = events.of(
            row,
            subscription=self._subscription,
            code=settings.LAGO_EVENT_CODE,
            names=settings.LAGO_EVENT_PROPERTIES,
        )
        theirs = stored.properties
        billed, _ = events.billed_by(settings.LAGO_EVENT_PROPERTIES)
        # One that is sent only since a while is not at fault; what is billed by must be there.
        odd = [
            f"{name} is {theirs.get(name)!r} at Lago, {value!r} here"
            for name, value in ours["properties"].items()
            if (name in theirs or name == billed) and not _same(theirs.get(name), value)
        ]
        self._report.cost_nano += row.cost_nano
        self._report.tokens += events.all_tokens(row)
        self._report.billed += _number(theirs.get(billed))
        if events.timestamp(stored.at) != ours["timestamp"]:
            odd.append(f"timestamp is {events.timestamp(stored.at)}, {ours['timestamp']} here")
        if stored.code != ours["code"]:
            odd.append(f"code is {stored.code}")
        if odd:
            self._report.different.add(f"{_told(row)}: {'; '.join(odd)[:300]}")

    def _is_missing(self, row: UsageRecord, state: str | None) -> bool:
        """A row that Lago's list does not have: it waits, is parked, or is looked up once more."""
        if state == OutboxEvent.State.PENDING:
            self._report.pending += 1
            return False
        if state == OutboxEvent.State.PARKED:
            self._report.parked.add(_told(row))
            return False
        # Under another name of the subscription Lago would take the same event a second time.
        is_looked_up = self._requeue or self._report.missing.count < MOST_LISTED
        stored = self._client.one(row.id.hex) if is_looked_up else None
        if stored is None:
            self._report.missing.add(_told(row))
            return True
        # Delivered meanwhile, or when the subscription had another name.
        self._report.at_lago += 1
        self._compare_one(row, stored)
        return False

    def _unknown(self, stored: lago.Stored) -> None:
        """An event without a row in this stretch: closed meanwhile, or not ours."""
        is_listed = self._report.unknown.count < MOST_LISTED
        if not is_listed or _record(stored.transaction_id, self._organization_id) is None:
            self._report.unknown.add(f"{stored.transaction_id} of {stored.subscription}")

    def compare_usage(self) -> None:
        """Compare the usage that Lago is about to bill with what was delivered of this period."""
        told = ""
        for _ in range(MOST_TRIES):
            told = self._usage_difference()
            if not told:
                return
        self._report.sums.add(f"organization {self._organization_id}: {told}")

    def _usage_difference(self) -> str:
        usage = self._client.find(
            f"customers/{self._organization_id}/current_usage",
            "customer_usage",
            external_subscription_id=self._subscription,
        )
        if usage is None:
            return "Lago bills nobody for it: no such subscription" if self._has_rows() else ""
        try:
            since = datetime.fromisoformat(str(usage["from_datetime"]).replace("Z", "+00:00"))
            until = datetime.fromisoformat(str(usage["to_datetime"]).replace("Z", "+00:00"))
            theirs = _billed(usage["charges_usage"])
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise lago.NonsenseError("Lago gave a usage without its fields.") from error
        least, most = self._delivered(
            Q(admitted_at__gte=since, admitted_at__lt=until + timedelta(seconds=1))
        )
        if theirs is None:
            return "its plan at Lago has no charge for usage" if least or most else ""
        ours = str(least) if least == most else f"{least} to {most}"
        shown = f"current usage is {theirs} at Lago, {ours} here"
        return "" if least <= theirs <= most else shown

    def _has_rows(self) -> bool:
        return UsageRecord.objects.filter(
            organization_id=self._organization_id, metered=True, event__isnull=True
        ).exists()

    def _delivered(self, when: Q) -> tuple[Decimal, Decimal]:
        """What Lago may have at least and at most: an event on its way may be there already."""
        waiting = Q(event__isnull=False)
        found = UsageRecord.objects.filter(
            when, organization_id=self._organization_id, metered=True
        ).aggregate(
            sure=Sum("cost_nano", filter=~waiting),
            more=Sum("cost_nano", filter=waiting & Q(cost_nano__gt=0)),
            less=Sum("cost_nano", filter=waiting & Q(cost_nano__lt=0)),
        )
        sure, more, less = (Decimal(found[name] or 0) for name in ("sure", "more", "less"))
        unit = events.billed_by(settings.LAGO_EVENT_PROPERTIES)[1]
        return (sure + less) / NANO / unit, (sure + more) / NANO / unit


def _earlier(since: datetime, until: datetime) -> int:
    """How many closed rows used something before the first one that Lago was told of."""
    metered = UsageRecord.objects.filter(metered=True).order_by("admitted_at")
    first = metered.values_list("admitted_at", flat=True).first() or until
    rows = UsageRecord.objects.filter(
        metered=False, admitted_at__gte=since, admitted_at__lt=min(first, until)
    )
    used = rows.exclude(state__in=[State.ADMITTED, State.CORRECTION])
    return used.exclude(**dict.fromkeys(USED, 0)).count()


def _waiting(rows: list[UsageRecord]) -> dict[UUID, str]:
    found: dict[UUID, str] = {}
    for start in range(0, len(rows), ASKED_AT_ONCE):
        part = [row.id for row in rows[start : start + ASKED_AT_ONCE]]
        known = OutboxEvent.objects.filter(record_id__in=part).values_list("record_id", "state")
        found.update(known)
    return found


def _billed(charges: list[Any]) -> Decimal | None:
    """The units of our metric; None: the plan has no charge for it."""
    units = [
        Decimal(str(charge["units"]))
        for charge in charges
        if charge["billable_metric"]["code"] == settings.LAGO_EVENT_CODE
    ]
    return sum(units, Decimal(0)) if units else None


def _record(transaction_id: str, organization_id: UUID) -> UsageRecord | None:
    try:
        wanted = UUID(hex=transaction_id)
    except ValueError:
        return None
    rows = UsageRecord.objects.filter(id=wanted, organization_id=organization_id, metered=True)
    return rows.first()


def _same(theirs: object, ours: str | int) -> bool:
    """Equal, also where a store has made a text of a number or the other way round."""
    if str(theirs) == str(ours):
        return True
    try:
        return Decimal(str(theirs)) == Decimal(str(ours))
    except InvalidOperation:
        return False


def _number(value: object) -> Decimal:
    """A number of Lago's; nothing where it is none, which stands among the values that differ."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
    return found if found.is_finite() else Decimal(0)


def _told(row: UsageRecord) -> str:
    return f"req_{row.id.hex} at {row.admitted_at.isoformat(timespec='milliseconds')}"
