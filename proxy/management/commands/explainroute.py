"""Which upstream would answer for a model, and why."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from proxy import table
from proxy.explain import NOBODY
from proxy.management.lines import aligned

COLUMNS = ("state", "pattern", "position", "weight", "upstream", "target_model", "why")


class Command(BaseCommand):
    """Explain a route."""

    help = "Say which upstream would answer for MODEL, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="MODEL")
        parser.add_argument("--organization", help="its id; without it, routes for all alone")
        parser.add_argument("--session", default="", help="a client's session id")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = _organization(options["organization"])
        told = async_to_sync(table.explain)(options["model"], organization, options["session"])
        chosen = told["chosen"]
        if chosen:
            self.stdout.write(
                f"{told['model']} -> {chosen['target_model']} at {chosen['upstream']}"
                f" ({chosen['kind']}), with the credential: {chosen['credential']}"
            )
        self.stdout.write(f"{told['reason']}\n")
        if told["candidates"]:
            rows = [[str(row[name]) for name in COLUMNS] for row in told["candidates"]]
            head = [name.replace("_", " ").upper() for name in COLUMNS]
            self.stdout.write("\n".join(["", *aligned([head, *rows])]))
        if not chosen:
            raise CommandError(f"Nothing answers for {told['model']}.")


def _organization(raw: str | None) -> UUID:
    if raw is None:
        return NOBODY
    try:
        return Organization.objects.get(id=UUID(raw)).id
    except (ValueError, Organization.DoesNotExist):
        raise CommandError(f"--organization: there is none with the id {raw!r}.") from None
