"""Prices from a JSON file."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from billing import pricefile, pricelist
from billing.money import PPM_PLACES, written
from billing.pricelist import Change
from billing.pricing import UNIT_PPM, PriceVersion

NAMED = 5  # closer patterns in one note; beyond it they are counted


class Command(BaseCommand):
    """Add the prices of a file that differ from those in force."""

    help = (
        'Add prices from JSON: {"prices": [{"pattern": "qwen3*", "input": "0.20",'
        ' "output": "0.60"}]}, in dollars per million tokens.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", nargs="?", help="- reads it from stdin")
        parser.add_argument(
            "--shipped",
            action="store_true",
            help="the list prices of this version, instead of FILE",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be, do nothing")
        parser.add_argument(
            "--force",
            action="store_true",
            help=f"also what is {pricelist.SUSPICIOUS} times dearer or cheaper than before",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["file"]) == options["shipped"]:
            raise CommandError("Say either FILE or --shipped.")
        text = _read(str(pricelist.SHIPPED) if options["shipped"] else options["file"])
        try:
            changes = pricelist.imported(
                text, audit.SYSTEM, force=options["force"], dry_run=options["dry_run"]
            )
        except pricefile.PriceListError as error:
            raise CommandError(
                "Nothing was imported:\n" + "\n".join(f"  {text}" for text in error.problems)
            ) from error
        for change in changes:
            self.stdout.write(f"{change.what:<10} {_told(change)}")
            if change.closer:
                self.stdout.write(_note(change.closer))
        counts = Counter(change.what for change in changes)
        total = ", ".join(f"{counts[what]} {what}" for what in ("created", "changed", "unchanged"))
        self.stdout.write(f"{total}{'; nothing was written' if options['dry_run'] else ''}.")
        if counts.keys() - {"unchanged"} and not options["dry_run"]:
            self.stdout.write(
                "Requests that were charged by the default before: .venv/bin/python manage.py"
                " rerateusage --dry-run"
            )


def _told(change: Change) -> str:
    price = change.price
    upstream = f" at {price.upstream}" if price.upstream else ""
    whose = f" for {price.organization_id}" if price.organization_id else ""
    default = " as the default" if price.is_default else ""
    is_changed = change.what == "changed"
    figures = _moved(change.former, price) if change.former and is_changed else _figures(price)
    since = pricefile.moment(price.valid_from)
    return f"{price.pattern}{upstream}{whose}{default}: {figures} from {since}"


def _moved(former: PriceVersion, price: PriceVersion) -> str:
    """Every figure that changes, with what it was."""
    was, now = _all_figures(former), _all_figures(price)
    return ", ".join(f"{name} {was[name]} -> {now[name]}" for name in now if was[name] != now[name])


def _all_figures(price: PriceVersion) -> dict[str, str]:
    """What a price says, under the names that a file has for it."""
    amounts = {
        name.removesuffix("_nano"): written(getattr(price, name)) for name in pricelist.AMOUNTS
    }
    end = price.valid_until
    return amounts | {
        "multiplier": written(price.multiplier_ppm, PPM_PLACES),
        "valid_until": pricefile.moment(end) if end else "null",
    }


def _figures(price: PriceVersion) -> str:
    times = ""
    if price.multiplier_ppm != UNIT_PPM:
        times = f", times {written(price.multiplier_ppm, PPM_PLACES)}"
    return f"input {written(price.input_nano)}, output {written(price.output_nano)}{times}"


def _note(closer: Sequence[str]) -> str:
    named = ", ".join(closer[:NAMED])
    more = f" and {len(closer) - NAMED} more" if len(closer) > NAMED else ""
    ending = (
        "are closer and keep their prices" if len(closer) > 1 else "is closer and keeps its price"
    )
    return f"{'':<10} note: {named}{more} {ending}"


def _read(name: str) -> bytes:
    most = pricefile.MAX_BYTES + 1  # one more than is taken, so that more is noticed
    if name == "-":
        return sys.stdin.buffer.read(most)
    try:
        with Path(name).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise CommandError(f"FILE: {name} cannot be read: {error.strerror}.") from error
