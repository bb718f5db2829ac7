"""`manage.py setuplago`: tell Lago of our plans and organizations."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import events, lago, lagosetup


class Command(BaseCommand):
    help = "Create or update at Lago: metric, plans, customers, subscriptions. May be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        """Or only say what would be done."""
        parser.add_argument("--dry-run", action="store_true", help="change nothing at Lago")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints a line for each thing. An organization that fails does not stop the others."""
        if not lago.is_configured():
            raise CommandError("LAGO_API_URL and LAGO_API_KEY are not set: there is no Lago.")
        changes = failures = 0
        try:
            with lago.Client() as client:
                for line in lagosetup.run(client, dry=options["dry_run"]):
                    (self.stderr if line.is_failure else self.stdout).write(line.text)
                    changes, failures = changes + line.is_change, failures + line.is_failure
        except (lago.LagoError, events.UnbilledError) as error:
            raise CommandError(str(error)) from error
        said = "would be changed" if options["dry_run"] else "changed"
        self.stdout.write(f"{changes} {said}, {failures} failed.")
        if failures:
            raise CommandError(f"{failures} organizations could not be set up; run it again.")
