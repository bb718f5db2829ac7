"""Delete what is too old, now. The server does so itself, once an hour."""

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from billing import pruning


class Command(BaseCommand):
    """Old rows of the ledger, allowances of past months, sessions that are over."""

    help = (
        "Delete rows of the ledger that are older than OPSCENTER_KEEP_DAYS and that Lago has, and"
        " what nobody needs any more. The sums of usage stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would go")

    def handle(self, *args: Any, **options: Any) -> None:
        days, now = settings.KEEP_DAYS, datetime.now(UTC)
        if options["dry_run"]:
            counts = {each.name: each.rows.count() for each in pruning.old(now, days)}
        else:
            counts = pruning.prune(days, now)
        verb = "would go" if options["dry_run"] else "deleted"
        for name, count in counts.items():
            self.stdout.write(f"{count:>9,} {name} {verb}")
        if not days:
            self.stdout.write("The ledger is kept for ever: OPSCENTER_KEEP_DAYS is 0.")
