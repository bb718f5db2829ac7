"""Money as people write and read it, and the integers that we reckon with. Nothing is rounded
but what `short` shows."""

import re
from decimal import Context, Decimal, Inexact

NANO = 1_000_000_000  # in a dollar
NANO_PLACES = 9
PPM_PLACES = 6  # a multiplier of one is a million millionths
MOST_CHARS = 40  # of a number in a file; no amount of ours needs more

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
# Its precision holds whatever MOST_CHARS can say, and it would rather fail than round.
_EXACT = Context(prec=2 * MOST_CHARS, traps=[Inexact])
_TYPED = re.compile(r"\$?\s*(\d*)(?:\.(\d*))?", re.ASCII)
_MOST_DIGITS = 20  # before the point; more is nothing but a strain on the converter


class AmountError(ValueError):
    """A text that is no such amount. It says why, to whoever wrote it."""


def parsed(text: str, digits: int, most: int) -> int:
    """A number in a file, times ten to the power of `digits`, exactly, and at most `most`."""
    if len(text) > MOST_CHARS or not _NUMBER.fullmatch(text):
        raise AmountError('must be a decimal number like "3.00"')
    scaled = _EXACT.scaleb(Decimal(text), digits)
    if scaled < 0:
        raise AmountError("must not be negative")
    if scaled > most:
        raise AmountError(f"must not be more than {written(most, digits)}")
    if scaled != scaled.to_integral_value():
        raise AmountError(f"has more than {digits} decimal places")
    return int(scaled)


def scaled(text: str, places: int) -> int:
    """What a person typed into a form, as a whole number of its smallest parts."""
    found = _TYPED.fullmatch(text.strip())
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


def written(amount: int, places: int = NANO_PLACES) -> str:
    """The exact amount as a file has it: a decimal number with at least two decimal places."""
    whole, _, part = decimal(amount, places).partition(".")
    return f"{whole}.{part:0<2}"


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
