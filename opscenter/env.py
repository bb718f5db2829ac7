"""The one reader of the environment: a wrong value stops the start and names itself."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent

# `var/` and `.env` lie beside the code unless the operator says otherwise.
DOTENV = Path(os.environ.get("OPSCENTER_ENV_FILE", ROOT / ".env"))  # noqa: TID251  (this is the reader)

T = TypeVar("T")

SECRET_CHARS = 32  # below this a secret can be guessed from its signature


class BadSettingError(Exception):
    """A setting is missing or wrong. The text names it and says what it may be."""


def _merged() -> Mapping[str, str]:
    """`.env` below the process's own environment, which wins."""
    from_file = {k: v for k, v in dotenv_values(DOTENV).items() if v is not None}
    return {**from_file, **os.environ}  # noqa: TID251  (this is the reader)


_ENVIRONMENT = _merged()


def _read(name: str, default: T, parse: Callable[[str], T | None], must: str) -> T:
    """The value of `name` by `parse`; `default` where it is unset or empty."""
    raw = _ENVIRONMENT.get(name, "").strip()
    if not raw:
        return default
    value = parse(raw)
    if value is None:
        raise BadSettingError(f"{name} must be {must}, not {raw!r}")
    return value


def text(name: str, default: str = "") -> str:
    """A plain string."""
    return _read(name, default, str, "text")


def secret(name: str) -> str:
    """A secret that must be there. Its value never stands in an error."""
    value = _ENVIRONMENT.get(name, "").strip()
    if len(value) < SECRET_CHARS:
        raise BadSettingError(
            f"{name} must be a secret of at least {SECRET_CHARS} characters; "
            "`make run` writes one to .env"
        )
    return value


def flag(name: str, default: bool) -> bool:
    """true or false, also 1/0, yes/no, on/off."""
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    return _read(name, default, lambda raw: words.get(raw.lower()), "true or false")


def whole(name: str, default: int, *, least: int = 1, most: int = 2**31 - 1) -> int:
    """A whole number from `least` to `most`."""

    def parse(raw: str) -> int | None:
        return int(raw) if raw.isdecimal() and least <= int(raw[:12]) <= most else None

    return _read(name, default, parse, f"a whole number from {least} to {most}")


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


def credential(name: str) -> str:
    """The upstream credential in the variable that an operator named; empty when it is unset.

    Our own secrets are never given out: whoever may edit an upstream could send them anywhere.
    """
    return "" if name.startswith("OPSCENTER_") else _ENVIRONMENT.get(name, "").strip()


def use_settings() -> None:
    """Tell Django where its settings are, unless somebody already did."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opscenter.settings")  # noqa: TID251  (this is the reader)
