"""Routes from a JSON file of model names."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from proxy import mapping


class Command(BaseCommand):
    """Make or update routes from a file."""

    help = 'Make routes from JSON: {"model_mapping": {"claude-opus-4-1": "gpt-4", ...}}.'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="- reads it from stdin")
        parser.add_argument(
            "--upstream", default="", help="where targets are that name no upstream themselves"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be, do nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        text = _read(options["file"])
        try:
            changes = mapping.imported(
                text, options["upstream"], audit.SYSTEM, dry_run=options["dry_run"]
            )
        except mapping.MappingError as error:
            raise CommandError(
                "Nothing was imported:\n" + "\n".join(f"  {text}" for text in error.problems)
            ) from error
        for change in changes:
            route = change.route
            target = route.target_model or route.pattern
            place = f"{target} at {route.upstream} (position {route.position})"
            self.stdout.write(f"{change.what:<10} {route.pattern} -> {place}")
        counts = Counter(change.what for change in changes)
        total = ", ".join(f"{counts[what]} {what}" for what in ("created", "changed", "unchanged"))
        self.stdout.write(f"{total}{'; nothing was written' if options['dry_run'] else ''}.")
        if changes and not options["dry_run"]:
            self.stdout.write("Look at one: .venv/bin/python manage.py explainroute MODEL")


def _read(name: str) -> bytes:
    most = mapping.MAX_BYTES + 1  # one more than is taken, so that more is noticed
    if name == "-":
        return sys.stdin.buffer.read(most)
    try:
        with Path(name).open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise CommandError(f"FILE: {name} cannot be read: {error.strerror}.") from error
