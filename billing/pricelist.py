"""Prices in and out as JSON. A row is never edited: what changes is a new row from then on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import Organization
from billing import models, pricefile
from billing.patterns import closeness, matches
from billing.pricefile import Entry, Key, PriceListError, key, moment
from billing.pricing import PriceVersion

SHIPPED = Path(__file__).with_name("list_prices.json")
SUSPICIOUS = 10  # times dearer or cheaper: just what a decimal point in the wrong place does
IMPORTED = "prices.imported"
UNCHANGED = "unchanged"
TOLD = 100  # versions that one line of the audit trail names

AMOUNTS = (
    *("input_nano", "output_nano", "cache_read_nano"),
    *("cache_write_5m_nano", "cache_write_1h_nano", "server_tool_nano"),
)
FIELDS = (*AMOUNTS, "multiplier_ppm", "pattern", "upstream", "organization_id", "is_default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one entry."""

    what: str  # created, changed (a new version) or unchanged
    price: PriceVersion
    former: PriceVersion | None  # what was in force at the moment from which it counts
    closer: tuple[str, ...] = ()  # patterns that it covers and that keep prices of their own


def imported(
    text: bytes, actor: str, *, force: bool = False, dry_run: bool = False
) -> list[Change]:
    """Add the file's prices where they differ from what is in force. Raises PriceListError.

    Run again it changes nothing. `force` takes figures that look like a slip of the pen.
    """
    entries, problems = pricefile.read(text, now=datetime.now(UTC))
    try:
        with transaction.atomic():
            found = list(_compared(entries))
            changes = [(entry, change) for entry, change in found if isinstance(change, Change)]
            problems += _strangers(entries)
            problems += [problem for _, problem in found if isinstance(problem, str)]
            if not force:
                problems += filter(None, (_suspicion(*pair) for pair in changes))
            if problems:
                raise PriceListError(problems)
            if not dry_run:
                _save([pair for pair in changes if pair[1].what != UNCHANGED], actor)
    except IntegrityError as error:
        problem = "Somebody else added such a price just now: run it again."
        raise PriceListError([problem]) from error
    return [change for _, change in sorted(changes, key=lambda pair: pair[0].number)]


def exported() -> str:
    """Every price that there is, of the past and of the future too."""
    rows = models.Price.objects.order_by("pattern", "upstream", "valid_from", "id")
    return pricefile.text_of((row.version(), row.source) for row in rows)


def values(entry: Entry) -> dict[str, object]:
    """An entry as the columns of its row."""
    price = entry.price
    dates = {"valid_from": price.valid_from, "valid_until": price.valid_until}
    return {name: getattr(price, name) for name in FIELDS} | dates | {"source": entry.source}


def _strangers(entries: Sequence[Entry]) -> list[str]:
    """What is for an organization that there is not."""
    wanted = [(entry, entry.price.organization_id) for entry in entries]
    ids = {organization_id for _, organization_id in wanted if organization_id is not None}
    known = Organization.objects.in_bulk(ids)
    return [
        f"{entry}: there is no organization {organization_id}."
        for entry, organization_id in wanted
        if organization_id is not None and organization_id not in known
    ]


def _compared(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Change | str]]:
    """Each entry with what it changes, or why it cannot be; the earliest first."""
    now, own = datetime.now(UTC), {key(entry.price) for entry in entries}
    known: dict[Key, list[PriceVersion]] = {}
    for row in models.Price.objects.all():
        version = row.version()
        known.setdefault(key(version), []).append(version)
    others = {name: versions for name, versions in known.items() if name not in own}
    for entry in sorted(entries, key=lambda e: e.price.valid_from):
        versions = known.setdefault(key(entry.price), [])
        found = _change(entry, versions)
        if isinstance(found, Change) and found.what != UNCHANGED:
            versions.append(entry.price)  # what the file says later is compared with it
            found = replace(found, closer=_closer(entry.price, others, now))
        yield entry, found


def _change(entry: Entry, versions: Sequence[PriceVersion]) -> Change | str:
    price = entry.price
    standing = [version for version in versions if version.is_valid(price.valid_from)]
    former = max(standing, key=lambda version: version.valid_from, default=None)
    if former is None:
        return Change(what="created", price=price, former=None)
    if _figures(former) == _figures(price):
        return Change(what=UNCHANGED, price=former, former=former)
    if former.valid_from == price.valid_from:
        return (
            f"{entry}: there is another price for the same from {moment(price.valid_from)} on, and"
            " a price is never edited: say a later valid_from, or leave it out for now."
        )
    return Change(what="changed", price=price, former=former)


def _closer(
    price: PriceVersion, others: Mapping[Key, Sequence[PriceVersion]], now: datetime
) -> tuple[str, ...]:
    """Patterns that `price` covers too but that name their models closer, so that they count."""
    at = max(price.valid_from, now)
    return tuple(
        sorted(
            pattern
            for (pattern, *place), versions in others.items()
            if tuple(place) == key(price)[1:]
            # A pattern whose own text is covered is covered whole: only a * there fits a * here.
            and matches(price.pattern, pattern)
            and closeness(pattern) < closeness(price.pattern)
            and any(version.is_valid(at) for version in versions)
        )
    )


def _figures(price: PriceVersion) -> tuple[object, ...]:
    return *(getattr(price, name) for name in AMOUNTS), price.multiplier_ppm, price.valid_until


def _suspicion(entry: Entry, change: Change) -> str:
    """The amounts that changed as much as they do when a decimal point slips."""
    former = change.former
    if former is None or change.what == UNCHANGED:
        return ""
    found = []
    for name in AMOUNTS:
        was = getattr(former, name) * former.multiplier_ppm
        now = getattr(change.price, name) * change.price.multiplier_ppm
        if was != now and (now >= was * SUSPICIOUS or was >= now * SUSPICIOUS):
            found.append(name.removesuffix("_nano"))
    if not found:
        return ""
    return (
        f"{entry}: {', '.join(found)} would be {SUSPICIOUS} times dearer or cheaper, or more, than"
        f" version {former.id or 'of this file'} in force then; if it is meant, say --force."
    )


def _save(changes: Sequence[tuple[Entry, Change]], actor: str) -> None:
    """Add the rows, and one line to the audit trail."""
    if not changes:
        return
    rows = models.Price.objects.bulk_create(models.Price(**values(entry)) for entry, _ in changes)
    told = [
        {
            "version": row.pk,
            "pattern": row.pattern,
            "instead_of": change.former.id if change.former else None,
        }
        for row, (_, change) in zip(rows, changes, strict=True)
    ]
    audit.record(IMPORTED, "prices", actor, None, {"count": len(told), "prices": told[:TOLD]})
