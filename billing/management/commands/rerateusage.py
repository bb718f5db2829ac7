"""Corrections for what was charged by the default price."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import rerate
from billing.money import written
from billing.rerate import Outcome, Scope


class Command(BaseCommand):
    """Charge rows again that no price knew, where one knows them now."""

    help = (
        "Append corrections to closed rows that were charged by the default price, where their"
        " model has a price for the moment at which they were admitted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from", dest="since", default="", help="2026-01-31 or with a time; UTC"
        )
        parser.add_argument("--to", dest="until", default="", help="the same; rows before it")
        parser.add_argument("--model", default="", help="only rows of this name, asked or served")
        parser.add_argument(
            "--at-present-prices",
            action="store_true",
            help="by the prices of now, not those of when each was admitted",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be, do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        scope = Scope(
            since=_moment("--from", options["since"]),
            until=_moment("--to", options["until"]),
            model=options["model"],
            at_present_prices=options["at_present_prices"],
        )
        self._tell(rerate.rerated(scope, dry_run=options["dry_run"]), options["dry_run"])

    def _tell(self, outcome: Outcome, dry_run: bool) -> None:
        for (model, upstream), moved in sorted(outcome.moved.items()):
            before, after = written(moved.before_nano), written(moved.after_nano)
            self.stdout.write(
                f"{model} at {upstream}: {moved.rows} rows, ${before} become ${after}"
            )
        rows = sum(moved.rows for moved in outcome.moved.values())
        change = sum(moved.after_nano - moved.before_nano for moved in outcome.moved.values())
        sign, end = "-" if change < 0 else "+", "; nothing was written" if dry_run else ""
        self.stdout.write(f"{rows} rows corrected, {sign}${written(abs(change))} in all{end}.")
        if outcome.unknown:
            self.stdout.write("No price is known for:")
        for (model, upstream), count in sorted(outcome.unknown.items()):
            self.stdout.write(f"  {model} at {upstream}: {count} rows")


def _moment(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError(f'{option} must be a day or a moment like "2026-01-31".') from error
