"""Nano-dollars as people write and read them, exactly."""

import re

NANO = 1_000_000_000  # in a dollar
NANO_PLACES = 9
PPM_PLACES = 6  # a multiplier of one is a million millionths

_DECIMAL = re.compile(r"\$?\s*(\d*)(?:\.(\d*))?", re.ASCII)
_MOST_DIGITS = 20  # before the point; more is nothing but a strain on the converter


class AmountError(ValueError):
    """A text that is no such amount. It says why, to whoever wrote it."""


def scaled(text: str, places: int) -> int:
    """A decimal as a whole number of its smallest parts, of which `places` digits count."""
    found = _DECIMAL.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        raise AmountError("Write a number such as 1234.50, without commas.")
    whole, part = found[1], found[2] or ""
    if len(part) > places:
        raise AmountError(f"At most {places} digits stand after the point.")
    if len(whole) > _MOST_DIGITS:
        raise AmountError("This number is too large.")
    return int((whole or "0") + part.ljust(places, "0"))


def decimal(number: int, places: int) -> str:
    """The number that `scaled` was given, without zeros at its end."""
    sign = "-" if number < 0 else ""
    whole, part = divmod(abs(number), 10**places)
    digits = f"{part:0{places}d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def exact(amount_nano: int) -> str:
    """Dollars to the last nano-dollar, with two digits after the point at least."""
    whole, _, part = decimal(abs(amount_nano), NANO_PLACES).partition(".")
    sign = "-" if amount_nano < 0 else ""
    return f"{sign}${int(whole):,}.{part:0<2}"


def short(amount_nano: int) -> str:
    """Dollars for a column: cents, below a dollar four digits."""
    size = abs(amount_nano)
    sign = "-" if amount_nano < 0 else ""
    if 0 < size < NANO // 10_000:
        return f"{sign}<$0.0001"
    places = 2 if size >= NANO or not size else 4
    step = 10 ** (NANO_PLACES - places)
    whole, part = divmod((2 * size + step) // (2 * step), 10**places)
    return f"{sign}${whole:,}.{part:0{places}d}"
