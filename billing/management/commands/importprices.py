"""Prices from a JSON file."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from billing import pricefile, pricelist
from billing.money import PPM_PLACES, written
from billing.pricing import UNIT_PPM, PriceVersion


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
            was = f" (was {_figures(change.former)})" if change.what == "changed" else ""
            self.stdout.write(f"{change.what:<10} {_place(change.price)}{was}")
        counts = Counter(change.what for change in changes)
        total = ", ".join(f"{counts[what]} {what}" for what in ("created", "changed", "unchanged"))
        self.stdout.write(f"{total}{'; nothing was written' if options['dry_run'] else ''}.")
        if counts.keys() - {"unchanged"} and not options["dry_run"]:
            self.stdout.write(
                "Requests that were charged by the default before: .venv/bin/python manage.py"
                " rerateusage --dry-run"
            )


def _place(price: PriceVersion) -> str:
    upstream = f" at {price.upstream}" if price.upstream else ""
    whose = f" for {price.organization_id}" if price.organization_id else ""
    default = " as the default" if price.is_default else ""
    since = pricefile.moment(price.valid_from)
    return f"{price.pattern}{upstream}{whose}{default}: {_figures(price)} from {since}"


def _figures(price: PriceVersion | None) -> str:
    if price is None:
        return ""
    times = ""
    if price.multiplier_ppm != UNIT_PPM:
        times = f", times {written(price.multiplier_ppm, PPM_PLACES)}"
    return f"input {written(price.input_nano)}, output {written(price.output_nano)}{times}"


def _read(name: str) -> bytes:
    most = pricefile.MAX_BYTES + 1  # one more than is taken, so that more is noticed
    if name == "-":
        return sys.stdin.buffer.read(most)
    try:
        with Path(name).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise CommandError(f"FILE: {name} cannot be read: {error.strerror}.") from error
