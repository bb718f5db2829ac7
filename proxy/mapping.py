"""A JSON file of model names, as an earlier guide had it, to routes.

`{"model_mapping": {"claude-3-5-sonnet-20241022": "gpt-4"}}`, or the inner object alone. A value is
a target, an object with an upstream and more, or a list of these: a chain in its order.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import trail
from proxy.models import Route, Upstream

MAX_BYTES = 1024 * 1024  # a mapping of some 10,000 models
MAX_ROUTES = 5000  # more would be a table that nobody can look through
MAX_CHAIN = 20  # upstreams for one model; nobody waits for more to fail
POSITION = 100  # of the first in a chain, as for a route that is made by hand
STEP = 10  # leaves room between two of them
NAME_CHARS = 256
FIELDS = ("upstream", "model", "display_name", "description", "position", "weight")

Raw = Mapping[str, Any]


class MappingError(Exception):
    """The file cannot be taken. Holds every problem, each with its key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One route that the file asks for. What it does not say is not in `said`."""

    key: str
    upstream: str
    target_model: str
    said: Mapping[str, Any]  # fields of the row


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one entry."""

    what: str  # created, changed or unchanged
    route: Route


def imported(text: bytes, upstream: str, actor: str, *, dry_run: bool = False) -> list[Change]:
    """Make the file's routes, or bring those that are there in line. Raises MappingError.

    `upstream` is where a target goes that names none. Run again it changes nothing. Routes of
    other patterns, of other upstreams and of single organizations stay as they are.
    """
    entries, problems = _parsed(text, upstream)
    with transaction.atomic():
        upstreams = {row.name: row for row in Upstream.objects.all()}
        problems += _unknown(entries, upstreams)
        rows = _rows([entry for entry in entries if entry.upstream in upstreams], upstreams)
        problems += _unfit(rows)
        if problems:
            raise MappingError(problems)
        changes = [_saved(row, actor) for _, row in rows]
        if dry_run:
            transaction.set_rollback(True)
    return changes


def _parsed(text: bytes, upstream: str) -> tuple[list[Entry], list[str]]:
    """What the file asks for, and what is wrong with the rest. Raises MappingError."""
    problems: list[str] = []
    entries: list[Entry] = []
    for key, value in _mapping(text).items():
        for found in _chain(key, value, upstream):
            if isinstance(found, Entry):
                entries.append(found)
            else:
                problems.append(f"{key[:60]!r}: {found}")
    twice = Counter((entry.key, entry.upstream, entry.target_model) for entry in entries)
    problems += [
        f"{key!r}: {target or key} at {name} stands there {times} times."
        for (key, name, target), times in twice.items()
        if times > 1
    ]
    if len(entries) > MAX_ROUTES:
        raise MappingError([f"{len(entries)} routes are more than {MAX_ROUTES}."])
    return entries, problems


def _chain(key: str, value: Any, upstream: str) -> list[Entry | str]:
    """The entries of one key, or what is wrong with each."""
    if not 0 < len(key) <= NAME_CHARS or not key.isprintable():
        return [f"a model name has 1 to {NAME_CHARS} printable characters."]
    options = value if isinstance(value, list) else [value]
    if not 0 < len(options) <= MAX_CHAIN:
        return [f"a chain has 1 to {MAX_CHAIN} targets."]
    return [
        _entry(key, option, upstream, POSITION + number * STEP)
        for number, option in enumerate(options)
    ]


def _mapping(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_BYTES:
        raise MappingError([f"The file is larger than {MAX_BYTES} bytes."])
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        twice.extend(key for key, times in counts.items() if times > 1)
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise MappingError([f"The file is not JSON{_where(error)}."]) from error
    if twice:
        raise MappingError([f"{key[:60]!r}: it stands there twice." for key in twice])
    if isinstance(found, dict) and "model_mapping" in found:
        if others := found.keys() - {"model_mapping"}:
            names = ", ".join(repr(name[:60]) for name in sorted(others))
            raise MappingError([f"{names}: only model_mapping can be imported; take it out."])
        found = found["model_mapping"]
    if not isinstance(found, dict):
        raise MappingError(["The file must be an object of model names, or hold model_mapping."])
    return found


def _where(error: Exception) -> str:
    """What JSON complains about, and where; nothing for bytes that are no text, or too deep."""
    if isinstance(error, json.JSONDecodeError):
        return f": {error.msg}, line {error.lineno}, column {error.colno}"
    return ""


def _entry(key: str, option: Any, upstream: str, position: int) -> Entry | str:
    """The entry, or what is wrong with it."""
    given = {"model": option} if isinstance(option, str) else option
    if not isinstance(given, dict):
        return "a target is a text or an object."
    if unknown := given.keys() - set(FIELDS):
        return f"there is no {sorted(unknown)[0][:60]!r}; the fields are {', '.join(FIELDS)}."
    if option == "":
        return "the target is empty."
    if wrong := _wrong_type(given):
        return wrong
    name = given.get("upstream", upstream)
    if not name:
        return "no upstream is named: say --upstream, or name one in the file."
    more = {field: given[field] for field in FIELDS[2:] if field in given}
    return Entry(
        key=key,
        upstream=name,
        target_model=given.get("model", ""),
        said={"position": position, **more},
    )


def _wrong_type(given: Raw) -> str:
    for field, value in given.items():
        if field in {"position", "weight"}:
            # Larger ones than the database can hold are refused with the other limits.
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**31 - 1:
                return f"{field} must be a whole number."
        elif not isinstance(value, str) or not (value.isprintable() or value == ""):
            return f"{field} must be a text in one line."
    return ""


def _unknown(entries: Sequence[Entry], upstreams: Mapping[str, Upstream]) -> list[str]:
    known = ", ".join(sorted(upstreams)) or "none"
    return [
        f"{entry.key!r}: {entry.upstream[:60]!r}: there is no such upstream; there are: {known}."
        for entry in entries
        if entry.upstream not in upstreams
    ]


def _rows(entries: Sequence[Entry], upstreams: Mapping[str, Upstream]) -> list[tuple[Entry, Route]]:
    """Each entry with its row: the very one, or one of the same pattern and upstream, or new."""
    free: dict[tuple[str, str], list[Route]] = {}
    for row in Route.objects.filter(organization=None).select_related("upstream"):
        free.setdefault((row.pattern, row.upstream.name), []).append(row)
    exact: dict[int, Route] = {}
    for number, entry in enumerate(entries):
        pool = free.get((entry.key, entry.upstream), [])
        if same := next((r for r in pool if r.target_model == entry.target_model), None):
            pool.remove(same)
            exact[number] = same
    rows = []
    for number, entry in enumerate(entries):
        pool = free.get((entry.key, entry.upstream), [])
        row = exact.get(number) or (
            pool.pop(0) if pool else Route(pattern=entry.key, upstream=upstreams[entry.upstream])
        )
        row.target_model = entry.target_model
        for field, value in entry.said.items():
            setattr(row, field, value)
        rows.append((entry, row))
    return rows


def _unfit(rows: Sequence[tuple[Entry, Route]]) -> list[str]:
    problems = []
    for entry, row in rows:
        try:
            row.clean_fields(exclude={"created_at", "upstream"})
            row.clean()
        except ValidationError as error:
            said = error.message_dict.items()
            problems += [f"{entry.key!r}: {field}: {' '.join(texts)}" for field, texts in said]
    return problems


def _saved(row: Route, actor: str) -> Change:
    is_new = row.pk is None
    changed = trail.save(row, actor)
    return Change(what="created" if is_new else "changed" if changed else "unchanged", route=row)
