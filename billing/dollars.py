"""Dollars as people write them, and the integers that we reckon with. Nothing is ever rounded."""

import re
from decimal import Context, Decimal, Inexact

NANO_DIGITS = 9  # of a dollar
MILLIONTH_DIGITS = 6  # of a multiplier
MOST_CHARS = 40  # of a number; no amount of ours needs more

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
# Its precision holds whatever MOST_CHARS can say, and it would rather fail than round.
_EXACT = Context(prec=2 * MOST_CHARS, traps=[Inexact])


class AmountError(ValueError):
    """The text is no amount that we can hold. Says why."""


def parsed(text: str, digits: int, most: int) -> int:
    """`text` times ten to the power of `digits`, exactly, and at most `most`."""
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


def written(amount: int, digits: int = NANO_DIGITS) -> str:
    """The exact amount as a decimal number, with at least two decimal places."""
    whole, part = divmod(abs(amount), 10**digits)
    places = f"{part:0{digits}}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{places}"
