"""Which upstream would answer for a model, and why."""

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Organization
from proxy import table
from proxy.explain import NOBODY
from proxy.management.lines import aligned

MOST = 200  # organizations that are looked through and listed
COLUMNS = ("state", "pattern", "position", "weight", "upstream", "target_model", "why")


class Command(BaseCommand):
    """Explain a route."""

    help = "Say which upstream would answer for MODEL, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="MODEL")
        parser.add_argument("--organization", help="its name or id; not needed where there is one")
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
        self.stdout.write("\nOutages that the running server has met are not seen from here.")
        if not chosen:
            raise CommandError(f"Nothing answers for {told['model']}.")


def _organization(wanted: str | None) -> UUID:
    """The one that is meant by its id or name; without a word, the only one there is."""
    found = list(Organization.objects.order_by("name").values_list("id", "name")[:MOST])
    if wanted is None:
        return found[0][0] if len(found) == 1 else NOBODY
    for organization_id, name in found:
        if wanted in (name, str(organization_id)):
            return organization_id
    known = ", ".join(f"{name} ({organization_id})" for organization_id, name in found)
    raise CommandError(f"--organization: there is no {wanted!r}; there are: {known or 'none'}.")
