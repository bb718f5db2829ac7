"""The reaper of tool calls as a process of its own."""

import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, close_old_connections

from accounts import tables
from mcp.reaper import EVERY_S, Reaper, Touched


class Command(BaseCommand):
    """Move calls on whose time is over, until stopped."""

    help = (
        "Move tool calls on whose lease or deadline is over, and delete old ones. The server does"
        " so itself; this is for a machine that runs it apart. Prints a line where it changed any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="one look, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        tables.check_migrated()
        reaper = Reaper(told=self._say)
        if options["once"]:
            reaper.step(time.monotonic())
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(EVERY_S):
            try:
                reaper.step(time.monotonic())
            except Error as error:
                self.stderr.write(f"No database: {error}")
            close_old_connections()

    def _say(self, touched: Touched) -> None:
        self.stdout.write(", ".join(f"{len(ids)} {kind}" for kind, ids in touched.items()))
