"""Questions to the sums of the ledger: who used how much of what, and when.

Only closed requests are in the sums. A range is whole hours. Rows of months answer for its whole
months, those of days for the days that are left, and those of hours for the rest: a month is a few
thousand rows, and the ends are exact nonetheless. Where only organizations and times matter, rows
that know nothing else answer. The sessions of one whole month are read in the order of their cost,
as an index keeps them; those of any other range are added up from their days.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Case, DateTimeField, F, Q, QuerySet, Sum, Value, When

from billing.models import UsageRollup, UsageSession

Kind = UsageRollup.Kind
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = None  # as a grain: no fixed length
Grain = timedelta | None
Stretch = tuple[Kind, datetime, datetime]

# Where the rollups keep what usage can be grouped by.
COLUMNS = {
    "day": "bucket",
    "hour": "bucket",
    "organization": "organization_id",
    "user": "user_id",
    "key": "api_key_id",
    "model": "model",
    "agent": "agent",
    "session": "label",
    "tag": "label",
}
TIMES = ("day", "hour")
# Which rows there are, the coarsest first. Those of sessions and tags know the day, the
# organization and the user, and nothing else.
GRAINS: Sequence[tuple[Grain, Kind]] = ((MONTH, Kind.MONTH), (DAY, Kind.DAY), (HOUR, Kind.HOUR))
# The same of whole organizations, and of all of these together.
WHOLES: Sequence[tuple[Grain, Kind]] = (
    (DAY, Kind.ORGANIZATION_DAY),
    (HOUR, Kind.ORGANIZATION_HOUR),
)
TOTALS: Sequence[tuple[Grain, Kind]] = ((HOUR, Kind.TOTAL),)
LABELS: Mapping[str, Sequence[tuple[Grain, Kind]]] = {
    "session": ((DAY, Kind.SESSION),),
    "tag": ((MONTH, Kind.TAG_MONTH), (DAY, Kind.TAG)),
}
BESIDE_LABELS = ("day", "user", "organization")
WITHIN_WHOLES = {*TIMES, "organization"}
# Two tenants' or two users' sessions are two, although both call them the same.
APART = {"session": ("organization_id", "user_id")}

SUMS = (
    "requests",
    "failed",
    "estimated",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "server_tool_uses",
    "tool_calls",
    "cost_nano",
    "duration_ms",
)
_OF = {name: f"sum_{name}" for name in SUMS}  # a column's own name cannot be its sum's

Amounts = dict[str, int]


class CombinationError(Exception):
    """The sums do not hold these together. `field` is the one that does not fit."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and of whose usage. A filter of None lets all through."""

    starts_at: datetime
    ends_at: datetime  # not part of it any more
    group_by: tuple[str, ...]
    organization_id: UUID | None = None
    user_id: int | None = None
    model: str | None = None
    key: str | None = None
    limit: int

    @property
    def label(self) -> str | None:
        """Session or tag, if it is grouped by one of them."""
        return next((name for name in self.group_by if name in LABELS), None)

    @property
    def group_by_time(self) -> bool:
        """Whether it is grouped by hour or day."""
        return any(name in TIMES for name in self.group_by)

    @property
    def is_filtered(self) -> bool:
        """Whether it is about less than whole organizations."""
        return any(value is not None for value in (self.user_id, self.model, self.key))

    @property
    def is_of_ranked_sessions(self) -> bool:
        """Whether it is about the sessions of one whole month, which are kept by their cost."""
        month = (_floor(self.starts_at, MONTH), _ceiling(self.starts_at + HOUR, MONTH))
        is_month = (self.starts_at, self.ends_at) == month
        return is_month and self.label == "session" and not self.group_by_time

    def covering(self) -> "Question":
        """The same for the least range of whole hours, or days, that the sums can answer for."""
        grain = DAY if self.label else HOUR
        return replace(
            self, starts_at=_floor(self.starts_at, grain), ends_at=_ceiling(self.ends_at, grain)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was used by one combination of what was asked for."""

    by: Mapping[str, Any]
    amounts: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The groups, at most as many as were asked for, and the sums of all there are."""

    question: Question  # with the range that it really covers
    groups: Sequence[Group]
    totals: Amounts
    has_more: bool


def check(group_by: Sequence[str], filters: Iterable[str]) -> None:
    """Raise CombinationError for what the sums do not hold together."""
    if len(set(group_by)) < len(group_by):
        raise CombinationError("group_by", "The same field twice makes no other groups.")
    if set(TIMES) <= set(group_by):
        raise CombinationError("group_by", "An hour says its day already: ask for one of them.")
    for label in (name for name in group_by if name in LABELS):
        can = f"{label} can be combined with: {', '.join(BESIDE_LABELS)}."
        for other in group_by:
            if other not in (label, *BESIDE_LABELS):
                text = f"{label} and {other} are not counted together; {can}"
                raise CombinationError("group_by", text)
        for name in filters:
            if name not in BESIDE_LABELS:
                text = f"Usage by {label} is not counted by {name}; {can}"
                raise CombinationError(name, text)


def ask(question: Question) -> Answer:
    """The answer, in order of time where it is grouped by time, else the costliest first."""
    question = question.covering()
    rows = _dearest(question) if question.is_of_ranked_sessions else _grouped(question)
    found = list(rows[: question.limit + 1])
    groups = [_group(question, row) for row in found[: question.limit]]
    has_more = len(found) > question.limit
    # A request with two tags is in two groups, and one without a tag or a session in none.
    if has_more or question.label:
        totals = _amounts(_rows(question, _fewest(question, [])).aggregate(**_sums()))
    else:
        totals = {name: sum(group.amounts[name] for group in groups) for name in SUMS}
    return Answer(question=question, groups=groups, totals=totals, has_more=has_more)


def _grouped(question: Question) -> QuerySet[UsageRollup, dict[str, Any]]:
    columns = [COLUMNS[name] for name in question.group_by]
    apart = [each for name in question.group_by for each in APART.get(name, ())]
    columns += [column for column in apart if column not in columns]
    times = [column for column in columns if column == "bucket"]
    others = [column for column in columns if column != "bucket"]
    order = [*times, f"-{_OF['cost_nano']}", f"-{_OF['requests']}", *others]
    rows = _rows(question, _grains(question)).annotate(bucket=_bucket(question))
    found: QuerySet[UsageRollup, dict[str, Any]] = rows.values(*columns).annotate(**_sums())
    return found.order_by(*order)


def _dearest(question: Question) -> QuerySet[UsageSession, dict[str, Any]]:
    """The sessions of a month in the very order of an index: no more are read than are shown."""
    rows = UsageSession.objects.filter(starts_at=question.starts_at)
    if question.organization_id is not None:
        rows = rows.filter(organization_id=question.organization_id)
    if question.user_id is not None:
        rows = rows.filter(user_id=question.user_id)
    columns = {"label": F("session")} | {alias: F(name) for name, alias in _OF.items()}
    found: QuerySet[UsageSession, dict[str, Any]] = rows.values(*APART["session"], **columns)
    return found.order_by("-cost_nano", "-requests", "id")


def _grains(question: Question) -> Sequence[tuple[Grain, Kind]]:
    label = question.label
    grains = LABELS[label] if label else _fewest(question, question.group_by)
    times = {DAY, HOUR} if "day" in question.group_by else {HOUR}
    if question.group_by_time:
        return [(grain, kind) for grain, kind in grains if grain in times]
    return grains


def _fewest(question: Question, fields: Sequence[str]) -> Sequence[tuple[Grain, Kind]]:
    """The least detailed rows that still know these fields, and whose usage is asked for."""
    if question.is_filtered or not set(fields) <= WITHIN_WHOLES:
        return GRAINS
    if question.organization_id is None and set(fields) <= {"hour"}:
        return TOTALS
    return WHOLES


def _rows(question: Question, grains: Sequence[tuple[Grain, Kind]]) -> QuerySet[UsageRollup]:
    """The rows that together cover the range."""
    mine = Q()
    if question.organization_id is not None:
        mine &= Q(organization_id=question.organization_id)
    covered = Q()
    for kind, starts_at, ends_at in stretches(question.starts_at, question.ends_at, grains):
        # The organization in each of them: then each is one range of an index.
        covered |= Q(kind=kind, starts_at__gte=starts_at, starts_at__lt=ends_at) & mine
    rows = UsageRollup.objects.filter(covered)
    if question.user_id is not None:
        rows = rows.filter(user_id=question.user_id)
    if question.model is not None:
        rows = rows.filter(model=question.model)
    if question.key is not None:
        rows = rows.filter(api_key_id=question.key)
    return rows


def stretches(
    starts_at: datetime, ends_at: datetime, grains: Sequence[tuple[Grain, Kind]]
) -> list[Stretch]:
    """Which kind of rows answers for which part of the range: the coarsest that fits in."""
    if starts_at >= ends_at:
        return []
    (grain, kind), finer = grains[0], grains[1:]
    first, last = _ceiling(starts_at, grain), _floor(ends_at, grain)
    if first >= last:
        return stretches(starts_at, ends_at, finer)
    before, after = stretches(starts_at, first, finer), stretches(last, ends_at, finer)
    return [*before, (kind, first, last), *after]


def _bucket(question: Question) -> F | Case:
    """The hour or the day of a row; those of the hours at the ends are the only ones to compute."""
    first, last = _floor(question.starts_at, DAY), _floor(question.ends_at, DAY)
    if "hour" in question.group_by or (first, last) == (question.starts_at, question.ends_at):
        return F("starts_at")
    return Case(
        When(starts_at__lt=first + DAY, then=Value(first)),
        When(starts_at__gte=last, then=Value(last)),
        default=F("starts_at"),
        output_field=DateTimeField(),
    )


def _sums() -> dict[str, Sum]:
    return {alias: Sum(name) for name, alias in _OF.items()}


def _group(question: Question, row: Mapping[str, Any]) -> Group:
    by = {name: row[COLUMNS[name]] for name in question.group_by}
    return Group(by=by, amounts=_amounts(row))


def _amounts(row: Mapping[str, Any]) -> Amounts:
    # PostgreSQL sums up bigints to decimals, and a sum of nothing is None.
    return {name: int(row[alias] or 0) for name, alias in _OF.items()}


def _floor(at: datetime, grain: Grain) -> datetime:
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if grain is None:
        return midnight.replace(day=1)
    return midnight + (at - midnight) // grain * grain


def _ceiling(at: datetime, grain: Grain) -> datetime:
    down = _floor(at, grain)
    if down == at:
        return at
    return down + grain if grain else _floor(down + 31 * DAY, MONTH)  # no month is longer
