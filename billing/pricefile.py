"""A JSON file of prices and what it says, with every mistake in it named."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from billing.money import NANO_PLACES, PPM_PLACES, AmountError, parsed, written
from billing.pricing import MOST_MULTIPLIER_PPM, MOST_NANO, UNIT_PPM, PriceVersion

MAX_BYTES = 4 * 1024 * 1024  # some 10,000 prices
MAX_PRICES = 10_000  # more would be a tariff that nobody can look through
YEARS = range(2000, 2100)  # a price of another century is a slip of the pen
PATTERN_CHARS, UPSTREAM_CHARS, SOURCE_CHARS = 256, 50, 200
FIELDS = (
    *("pattern", "upstream", "organization", "input", "output"),
    *("cache_read", "cache_write_5m", "cache_write_1h", "server_tool", "multiplier"),
    *("valid_from", "valid_until", "is_default", "source"),
)
T = TypeVar("T")


class PriceListError(Exception):
    """The file cannot be taken. Holds every problem, each with its entry."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One price that the file asks for. Its id is not known yet."""

    number: int  # from 1, as people count
    price: PriceVersion
    source: str

    def __str__(self) -> str:
        return _where(self.number, self.price.pattern)


def read(text: bytes, *, now: datetime) -> tuple[list[Entry], list[str]]:
    """The file's entries, and what is wrong with the others. Raises PriceListError.

    What says no `valid_from` counts from `now`.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for number, given in enumerate(_listed(text), start=1):
        reading = _Reading(number, given)
        entry = reading.entry(now)
        problems += reading.problems
        if entry is not None and not reading.problems:
            entries.append(entry)
    times = Counter((key(entry.price), entry.price.valid_from) for entry in entries)
    once = []
    for entry in entries:
        if (found := times[key(entry.price), entry.price.valid_from]) > 1:
            problems.append(f"{entry}: it stands there {found} times for the same moment.")
        else:
            once.append(entry)
    return once, problems


Key = tuple[str, str, UUID | None, bool]


def key(price: PriceVersion) -> Key:
    """What a price is for. Of those for the same, the one that began last counts."""
    return price.pattern, price.upstream, price.organization_id, price.is_default


def text_of(prices: Iterable[tuple[PriceVersion, str]]) -> str:
    """Prices and their sources as a file that `read` takes."""
    entries = [
        {
            "pattern": price.pattern,
            "upstream": price.upstream,
            "organization": None if price.organization_id is None else str(price.organization_id),
            "input": written(price.input_nano),
            "output": written(price.output_nano),
            "cache_read": written(price.cache_read_nano),
            "cache_write_5m": written(price.cache_write_5m_nano),
            "cache_write_1h": written(price.cache_write_1h_nano),
            "server_tool": written(price.server_tool_nano),
            "multiplier": written(price.multiplier_ppm, PPM_PLACES),
            "valid_from": moment(price.valid_from),
            "valid_until": None if price.valid_until is None else moment(price.valid_until),
            "is_default": price.is_default,
            "source": source,
        }
        for price, source in prices
    ]
    return json.dumps({"prices": entries}, indent=2, ensure_ascii=False) + "\n"


def moment(at: datetime) -> str:
    """A moment as the file has it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Number(str):
    """A JSON number just as it is written: a float would be another one."""

    __slots__ = ()


class _Object(dict[str, Any]):
    """A JSON object that knows which of its names stood there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [name for name, times in Counter(n for n, _ in pairs).items() if times > 1]


def _listed(text: bytes) -> list[Any]:
    if len(text) > MAX_BYTES:
        raise PriceListError([f"The file is larger than {MAX_BYTES} bytes."])
    try:
        found = json.loads(text, object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError) as error:
        place = ""  # nothing for bytes that are no text, or too deep
        if isinstance(error, json.JSONDecodeError):
            place = f": {error.msg}, line {error.lineno}, column {error.colno}"
        raise PriceListError([f"The file is not JSON{place}."]) from error
    if isinstance(found, _Object):
        if found.keys() != {"prices"} or found.twice:
            raise PriceListError(['The file must be a list of prices, or {"prices": […]} alone.'])
        found = found["prices"]
    if not isinstance(found, list):
        raise PriceListError(['The file must be a list of prices, or {"prices": […]} alone.'])
    if len(found) > MAX_PRICES:
        raise PriceListError([f"{len(found)} prices are more than {MAX_PRICES}."])
    return found


def _where(number: int, pattern: object) -> str:
    is_shown = isinstance(pattern, str) and pattern
    return f"Entry {number} ({str(pattern)[:60]!r})" if is_shown else f"Entry {number}"


class _WrongError(Exception):
    """What is wrong with a value, to be put behind its field's name."""


class _Reading:
    """Reads one entry and gathers what is wrong with it."""

    def __init__(self, number: int, given: object) -> None:
        self._number = number
        self._given: Mapping[str, Any] = given if isinstance(given, _Object) else {}
        self._name = _where(number, self._given.get("pattern"))
        self.problems: list[str] = []
        if not isinstance(given, _Object):
            self._say("must be an object.")
            return
        for field in given.keys() - set(FIELDS):
            self._say(f"there is no {field[:60]!r}; the fields are {', '.join(FIELDS)}.")
        for field in given.twice:
            self._say(f"{field[:60]} stands there twice.")
        for field in ("pattern", "input", "output"):
            if field not in given:
                self._say(f"{field} is missing.")

    def entry(self, now: datetime) -> Entry | None:
        """The entry. None, or one that does not count, where there are problems."""
        fresh = self._take("input", _amount, 0)
        price = PriceVersion(
            id=None,
            pattern=self._take("pattern", _text(1, PATTERN_CHARS), "*"),
            upstream=self._take("upstream", _text(0, UPSTREAM_CHARS), ""),
            organization_id=self._take("organization", _organization, None),
            input_nano=fresh,
            output_nano=self._take("output", _amount, 0),
            # As the Messages API prices them. A nano-dollar that does not divide is rounded up.
            cache_read_nano=self._take("cache_read", _amount, -(-fresh // 10)),
            cache_write_5m_nano=self._take("cache_write_5m", _amount, -(-fresh * 5 // 4)),
            cache_write_1h_nano=self._take("cache_write_1h", _amount, fresh * 2),
            server_tool_nano=self._take("server_tool", _amount, 0),
            multiplier_ppm=self._take("multiplier", _multiplier, UNIT_PPM),
            valid_from=self._take("valid_from", _moment, now),
            valid_until=self._take("valid_until", _end, None),
            is_default=self._take("is_default", _yes_or_no, False),
        )
        if price.cache_write_1h_nano > MOST_NANO or price.cache_write_5m_nano > MOST_NANO:
            self._say(f"a cache write costs more than {written(MOST_NANO)}; say what it costs.")
        if price.valid_until is not None and price.valid_until <= price.valid_from:
            self._say("valid_until must be after valid_from.")
        source = self._take("source", _text(0, SOURCE_CHARS), "")
        return None if self.problems else Entry(number=self._number, price=price, source=source)

    def _take(self, field: str, way: Callable[[Any], T], missing: T) -> T:
        if field not in self._given:
            return missing
        try:
            return way(self._given[field])
        except (_WrongError, AmountError) as error:
            self._say(f"{field} {error}.")
            return missing

    def _say(self, problem: str) -> None:
        self.problems.append(f"{self._name}: {problem}")


def _amount(value: object) -> int:
    return _decimal(value, NANO_PLACES, MOST_NANO)


def _multiplier(value: object) -> int:
    return _decimal(value, PPM_PLACES, MOST_MULTIPLIER_PPM)


def _decimal(value: object, digits: int, most: int) -> int:
    return parsed(value if isinstance(value, str) else "", digits, most)


def _text(least: int, most: int) -> Callable[[object], str]:
    def read_text(value: object) -> str:
        is_text = isinstance(value, str) and not isinstance(value, _Number)
        if not is_text or not (str(value).isprintable() and least <= len(str(value)) <= most):
            raise _WrongError(f"must be a text in one line, of {least} to {most} characters")
        if str(value) != str(value).strip():
            raise _WrongError("must not begin or end with a blank")
        return str(value)

    return read_text


def _organization(value: object) -> UUID | None:
    if value is None:
        return None
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError as error:
        raise _WrongError("must be an organization's id, or null") from error


def _moment(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise _WrongError('must be a moment like "2026-01-31T00:00:00Z"') from error
    if at.tzinfo is None:
        raise _WrongError('must say its zone, like "2026-01-31T00:00:00Z"')
    if at.year not in YEARS:
        raise _WrongError(f"must be in the years {YEARS.start} to {YEARS.stop - 1}")
    return at.astimezone(UTC)


def _end(value: object) -> datetime | None:
    return None if value is None else _moment(value)


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("must be true or false")
    return value
