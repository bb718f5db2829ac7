"""The one reader of the environment: a wrong value stops the start and names itself."""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import dj_database_url
from dotenv import dotenv_values

from opscenter import guessable
from opscenter.guessable import SECRET_CHARS

ROOT = Path(__file__).resolve().parent.parent

# `var/` and `.env` lie beside the code unless the operator says otherwise.
DOTENV = Path(os.environ.get("OPSCENTER_ENV_FILE", ROOT / ".env"))  # noqa: TID251  (this is the reader)

T = TypeVar("T")

# Variables of the gateway and of the neighbours that it keeps books and logs people in with.
OWN_PREFIXES = ("OPSCENTER_", "OPS_CENTER_", "LAGO_", "KEYCLOAK_", "OIDC_", "DATABASE_", "REDIS_")

# Options of a database that go no further than Django.
OF_DJANGO = ("assume_role", "isolation_level", "pool", "server_side_binding")


class BadSettingError(Exception):
    """A setting is missing or wrong. The text names it and says what it may be."""


def _merged() -> Mapping[str, str]:
    """`.env` below the process's own environment, which wins where it says anything.

    An empty variable says nothing: compose files pass on unset ones that way.
    """
    if DOTENV.is_dir():
        sys.exit(f"ops-center: {DOTENV} cannot be read: it is a folder; see OPSCENTER_ENV_FILE")
    try:
        from_file = {k: v for k, v in dotenv_values(DOTENV).items() if v is not None}
    except OSError as error:
        sys.exit(f"ops-center: {DOTENV} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        sys.exit(f"ops-center: {DOTENV} cannot be read: it is no text in UTF-8")
    own = {k: v for k, v in os.environ.items() if v}  # noqa: TID251  (this is the reader)
    return from_file | own


_ENVIRONMENT = _merged()
_asked: set[str] = set()  # the names of all settings, once they have been read


def _value(name: str) -> str:
    _asked.add(name)
    return _ENVIRONMENT.get(name, "").strip()


def unknown() -> dict[str, str]:
    """What `.env` names like a setting of ours and nobody reads, and which was meant, if any."""
    named = [name for name in dotenv_values(DOTENV) if name.startswith("OPSCENTER_")]
    strange = sorted(set(named) - _asked)
    return {name: next(iter(get_close_matches(name, _asked, 1)), "") for name in strange}


def _read(name: str, default: T, parse: Callable[[str], T | None], must: str) -> T:
    """The value of `name` by `parse`; `default` where it is unset or empty."""
    raw = _value(name)
    if not raw:
        return default
    value = parse(raw)
    if value is None:
        # An address may hold a password, and what stops the start ends in logs.
        shown = "what it is set to" if "@" in raw else repr(raw)
        raise BadSettingError(f"{name} must be {must}, not {shown}")
    return value


def text(name: str, default: str = "") -> str:
    """A plain string."""
    return _read(name, default, str, "text")


def secret(name: str, way_out: str = "") -> str:
    """A secret that must be there. Its value never stands in an error."""
    value = _value(name)
    if len(value) < SECRET_CHARS:
        must = f"must be a secret of at least {SECRET_CHARS} characters"
        raise BadSettingError(f"{name} {must}; {way_out or _first_secret(name)}")
    _refuse_guessable(name, value)
    return value


def _first_secret(name: str) -> str:
    there = f"into yours put {name}= and `openssl rand -hex 32`"
    return f"`make run` writes one where there is no .env yet, {there}"


def _refuse_guessable(name: str, value: str) -> None:
    if guessable.is_guessable(value):
        raise BadSettingError(f"{name} can be guessed: take the output of `openssl rand -hex 32`")


def _refuse_example(name: str, password: str, user: str, host: str) -> None:
    if guessable.is_example_password(password, user, host):
        raise BadSettingError(
            f"{name} has a password that everybody tries first: give {host} another,"
            " for example the output of `openssl rand -hex 32`"
        )


def secret_or_none(name: str) -> str:
    """A secret that need not be there; empty where it is unset."""
    is_set = bool(_value(name))
    return secret(name, way_out="or leave it empty") if is_set else ""


def secrets(name: str) -> list[str]:
    """Secrets, comma-separated; none where it is unset. Their values never stand in an error."""
    values = [v.strip() for v in _value(name).split(",") if v.strip()]
    if any(len(value) < SECRET_CHARS for value in values):
        raise BadSettingError(
            f"{name} must be secrets of at least {SECRET_CHARS} characters each, comma-separated"
        )
    for value in values:
        _refuse_guessable(name, value)
    return values


def flag(name: str, default: bool) -> bool:
    """true or false, also 1/0, yes/no, on/off."""
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return _read(name, default, lambda raw: words.get(raw.lower()), "true or false")


def whole(name: str, default: int, *, least: int = 1, most: int = 2**31 - 1) -> int:
    """A whole number from `least` to `most`."""

    def parse(raw: str) -> int | None:
        digits = raw.lstrip("0") or "0"
        is_number = raw.isascii() and raw.isdecimal() and len(digits) <= 12
        return int(digits) if is_number and least <= int(digits) <= most else None

    return _read(name, default, parse, f"a whole number from {least} to {most}")


def retention(name: str, *, least: int) -> int:
    """Days that rows are kept, `least` or more; 0, the default, is for ever."""

    def parse(raw: str) -> int | None:
        days = int(raw) if raw.isascii() and raw.isdecimal() and len(raw) <= 5 else -1
        return days if days == 0 or days >= least else None

    return _read(name, 0, parse, f"0, or a number of days from {least} on")


def choice(name: str, default: str, among: Sequence[str]) -> str:
    """One of a few words, in whichever case."""

    def parse(raw: str) -> str | None:
        return raw.upper() if raw.upper() in among else None

    return _read(name, default, parse, f"one of {', '.join(among)}")


def seconds(name: str, default: float) -> float:
    """A number of seconds above zero."""

    def parse(raw: str) -> float | None:
        try:
            value = float(raw)
        except ValueError:
            return None
        return value if 0 < value < float("inf") else None

    return _read(name, default, parse, "a number of seconds above zero")


def words(name: str, default: list[str]) -> list[str]:
    """A comma-separated list."""
    return _read(
        name,
        default,
        lambda raw: [w.strip() for w in raw.split(",") if w.strip()],
        "a comma-separated list",
    )


def checked(name: str, default: list[str], check: Callable[[list[str]], T | str]) -> T:
    """What `check` makes of a comma-separated list; a text of its own says what is wrong with it.

    An empty value is an unset one.
    """
    found = check(words(name, default))
    if isinstance(found, str):
        raise BadSettingError(f"{name}: {found}")
    return found


def url(name: str, default: str = "") -> str:
    """An http or https address without a trailing slash."""

    def parse(raw: str) -> str | None:
        try:
            parts = urlsplit(raw)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return None
        return raw.rstrip("/") if good else None

    return _read(name, default, parse, "an http:// or https:// address")


def address(name: str, *, scheme: str) -> str:
    """A server's address in a scheme of its own, also with TLS (`rediss`); empty where unset."""

    def parse(raw: str) -> str | None:
        try:
            parts = urlsplit(raw)
            good = parts.scheme in {scheme, f"{scheme}s"} and bool(parts.hostname)
            good = good and parts.port != 0 and re.fullmatch(r"/?\d*", parts.path) is not None
        except ValueError:
            return None
        return raw if good else None

    found = _read(name, "", parse, f"a {scheme}://host:port/number address")
    parts = urlsplit(found)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    _refuse_example(name, password, user, parts.hostname or "")
    return found


def database(name: str, default: str) -> dict[str, Any]:
    """A database address as Django's settings want it."""

    def parse(raw: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = dict(dj_database_url.parse(raw))
        except ValueError:
            return None
        options = found.get("OPTIONS", {})
        if found["ENGINE"].endswith("sqlite3"):
            good = found["NAME"] not in {"", ":memory:"}  # each connection would have its own
        else:
            is_named = bool(found["NAME"] or "service" in options)
            good = is_named and found["ENGINE"].endswith("postgresql") and _are_known(options)
        return found if good else None

    found = _read(
        name,
        dict(dj_database_url.parse(default)),
        parse,
        "a sqlite:///path or postgres://host/name address",
    )
    _refuse_example(name, *(str(found.get(one) or "") for one in ("PASSWORD", "USER", "HOST")))
    return found


def _are_known(options: Mapping[str, Any]) -> bool:
    """Whether PostgreSQL's client or Django knows all of these, so that a connection is tried."""
    from psycopg import ProgrammingError, conninfo  # SQLite's users need not have it loaded

    try:
        conninfo.make_conninfo(**{k: v for k, v in options.items() if k not in OF_DJANGO})
    except ProgrammingError:
        return False
    return True


def credential(name: str) -> str:
    """The upstream credential in the variable that an operator named; empty when it is unset.

    Our own secrets are never given out: whoever may edit an upstream could send them anywhere.
    """
    return "" if name.startswith(OWN_PREFIXES) else _ENVIRONMENT.get(name, "").strip()


def share_counters(folder: Path) -> None:
    """Have the processes that are started from here keep their metrics together in `folder`.

    The Prometheus client looks at the variable once, when it is imported.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # noqa: TID251  (this is the reader)


def use_settings() -> None:
    """Tell Django where its settings are, unless somebody already did."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opscenter.settings")  # noqa: TID251  (this is the reader)
