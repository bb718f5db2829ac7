"""`manage.py exportusage`: send usage to Lago."""

import signal
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import tables
from billing import export, lago

STEPS_ONCE = 100_000  # ten million events; more is left to the next call


class Command(BaseCommand):
    help = "Send the events in the outbox to Lago, until it is told to stop."

    def add_arguments(self, parser: CommandParser) -> None:
        """Once, or as the child of a server."""
        parser.add_argument("--once", action="store_true", help="send what is there, then end")
        parser.add_argument(
            "--until-stdin-ends", action="store_true", help="end when whoever started it does"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until SIGINT or SIGTERM; the batch under way is finished first."""
        if not lago.is_configured():
            raise CommandError("LAGO_API_URL and LAGO_API_KEY are not set: there is no Lago.")
        tables.check_migrated()
        try:
            client = lago.Client()
        except lago.LagoError as error:
            raise CommandError(str(error)) from error
        with client:
            if options["once"]:
                self._once(client)
                return
            export.run(_stop(options["until_stdin_ends"]), client)

    def _once(self, client: lago.Client) -> None:
        exporter = export.Exporter(client)
        delivered = parked = 0
        for _ in range(STEPS_ONCE):
            found = exporter.step()
            delivered, parked = delivered + found.delivered, parked + found.parked
            if found.failed:
                raise CommandError(f"{delivered} delivered, {parked} parked, then: {found.failed}")
            if not found.claimed:
                break
        self.stdout.write(f"{delivered} delivered, {parked} parked.")


def _stop(with_stdin: bool) -> threading.Event:
    """Set by a signal or, if wanted, by the end of whoever holds the other end of stdin."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if with_stdin:
        # A pipe ends with its holder, also with one that is killed and can tell nobody.
        threading.Thread(target=_wait_for_the_end, args=[stop], daemon=True).start()
    return stop


def _wait_for_the_end(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()
