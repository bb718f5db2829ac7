"""Check that the audit of tool calls is as it was written."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from mcp import auditing
from mcp.models import AuditedCall, ToolCall

UNREADABLE = (
    " If this is the first row of all, look whether OPSCENTER_KEY_PEPPER is the one that the rows"
    " were written under."
)


class Command(BaseCommand):
    """Verify each organization's chain, and name the first row that is broken."""

    help = (
        "Verify the audit of tool calls. Prints a line for each organization: how many rows, and"
        " the hash of the last, to be kept elsewhere. Ends with 1 where a row was changed, taken"
        " out or put in, and names the first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", help="the id of one; without it, all")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = _wanted(options["organization"])
        if not wanted:
            self.stdout.write("There is no audit yet: no call has ended.")
        broken = [self._verify(organization) for organization in wanted]
        if any(broken):
            raise CommandError("The audit is broken.")

    def _verify(self, organization_id: UUID) -> bool:
        name = Organization.objects.filter(id=organization_id).values_list("name", flat=True)
        shown = f"{name.first() or 'a deleted organization'} ({organization_id})"
        found = auditing.first_broken(organization_id)
        if found is not None:
            which = f"row {found.number}" + (f" ({found.row})" if found.row else "")
            hint = UNREADABLE if found.number == 1 and found.row else ""
            self.stdout.write(f"{shown}: {which} is broken: {found.why}.{hint}")
            return True
        last = AuditedCall.objects.filter(organization_id=organization_id).order_by("number").last()
        end = f"{last.number} rows, the last is {last.hash}" if last else "no rows"
        self.stdout.write(f"{shown}: whole, {end}")
        return False


def _wanted(one: str | None) -> list[UUID]:
    if one is not None:
        try:
            return [UUID(one)]
        except ValueError as error:
            raise CommandError(f"{one!r} is no id of an organization.") from error
    # Of calls too: a chain of which nothing is left is broken as well.
    chains = AuditedCall.objects.order_by().values_list("organization_id", flat=True)
    put_down = ToolCall.objects.filter(audited=True).order_by()
    return sorted(
        {*chains.distinct(), *put_down.values_list("organization_id", flat=True).distinct()}
    )
