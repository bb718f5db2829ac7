"""`manage.py reconcilelago`: whether Lago has what the ledger says it has."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from billing import events, lago, reconcile
from billing.lago_report import Report

BEFORE = timedelta(days=31)  # a billing period, unless --from says otherwise
DIFFERS, INCOMPARABLE = 1, 2  # exit codes


class Command(BaseCommand):
    help = (
        "Compare the ledger with the events and the usage at Lago. The last line is `balanced` "
        "when all agrees (exit code 0), else the differences stand there (1); 2: no comparison."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The range of time."""
        parser.add_argument("--from", dest="since", type=_moment, metavar="DATE", help="UTC")
        parser.add_argument("--to", dest="until", type=_moment, metavar="DATE", help="UTC")
        parser.add_argument(
            "--requeue",
            action="store_true",
            help="put what is missing at Lago into the outbox again; Lago bills nothing twice",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints what was compared and each difference."""
        until = options["until"] or datetime.now(UTC)
        since = options["since"] or until - BEFORE
        if not since < until:
            raise CommandError("--from must be before --to.", returncode=INCOMPARABLE)
        if not lago.is_configured():
            text = "LAGO_API_URL and LAGO_API_KEY are not set: there is no Lago."
            raise CommandError(text, returncode=INCOMPARABLE)
        try:
            with lago.Client() as client:
                report = reconcile.run(client, since, until, requeue=options["requeue"])
        except (lago.LagoError, events.UnbilledError, Error) as error:
            raise CommandError(str(error), returncode=INCOMPARABLE) from error
        self._tell(report)
        if not report.is_balanced:
            raise CommandError("The ledger and Lago differ.", returncode=DIFFERS)
        self.stdout.write("balanced")

    def _tell(self, report: Report) -> None:
        self.stdout.write(
            f"{report.rows} rows of the ledger: {report.at_lago} at Lago, with {report.tokens} "
            f"tokens and {events.dollars(report.cost_nano)} dollars; {report.pending} on their way."
        )
        if report.earlier:
            self.stdout.write(f"{report.earlier} rows from before metering began are not compared.")
        for name, listed in report.differences.items():
            if listed.count:
                self.stdout.write(f"{listed.count} {name}:")
                self.stdout.write("".join(f"  {text}\n" for text in listed.named), ending="")
            if listed.count > len(listed.named):
                self.stdout.write(f"  and {listed.count - len(listed.named)} more")
        if report.requeued:
            self.stdout.write(
                f"{report.requeued} rows are in the outbox again. Once they are sent, compare anew."
            )


def _moment(raw: str) -> datetime:
    """A date or a moment, taken as UTC unless it says otherwise."""
    at = datetime.fromisoformat(raw)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
