"""`manage.py serve`: the server that people run."""

import os
from contextlib import suppress
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection

from accounts import tables
from billing import terms
from billing.models import Plan
from mcp import frames
from opscenter import counters, crew, exporter, roles
from opscenter.heads import BoundedHead
from opscenter.listening import check_free
from opscenter.sockets import BoundedSocket

# Clients keep one connection for a session and think between two requests; a server that closes
# first now and then closes on a request that is just being sent.
KEEP_ALIVE_S = 75
MOST_WORKERS = 64  # as for OPSCENTER_WORKERS
PING_S = 20  # proxies cut a silent socket after a minute or so


class Command(BaseCommand):
    help = "Serve on OPSCENTER_HOST and OPSCENTER_PORT with uvicorn."

    def add_arguments(self, parser: CommandParser) -> None:
        """What runs beside it."""
        parser.add_argument(
            "--no-exporter", action="store_true", help="send no usage to Lago from here"
        )
        parser.add_argument(
            "--workers", type=int, default=settings.WORKERS, help="processes that share the port"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until SIGINT or SIGTERM."""
        os.umask(0o077)  # what is in var/ is the operator's alone
        workers = options["workers"]
        if not 1 <= workers <= MOST_WORKERS:
            raise CommandError(f"--workers: a whole number from 1 to {MOST_WORKERS}")
        check_free()
        tables.check_migrated()
        _check_default_plan()
        if workers > 1 and not settings.REDIS_URL:
            self.stderr.write(
                "Several workers without OPSCENTER_REDIS_URL: tool calls wait longer."
            )
        if workers > 1 and connection.vendor == "sqlite":
            self.stderr.write(
                "Several workers on SQLite: only one at a time writes. OPSCENTER_DATABASE_URL"
                " may name a PostgreSQL."
            )
        with suppress(Error):  # no database yet: the server says so to whoever asks
            roles.write()
        wanted = not options["no_exporter"]
        with counters.shared(workers), exporter.beside(wanted=wanted):
            _serve(workers)


def _check_default_plan() -> None:
    """A code that no plan has would let everybody use as much as they like."""
    code = settings.DEFAULT_PLAN
    try:
        if code == terms.NO_PLAN or terms.plan_of(code) is not None:
            return
    except Error:  # no database yet: the server says so to whoever asks
        return
    codes = ", ".join([*Plan.objects.values_list("code", flat=True), terms.NO_PLAN])
    raise CommandError(f"OPSCENTER_DEFAULT_PLAN: no plan has the code {code!r}; it may be: {codes}")


def _serve(workers: int) -> None:
    config = uvicorn.Config(
        "opscenter.asgi:application",
        host=settings.HOST,
        port=settings.PORT,
        loop="uvloop",
        http=BoundedHead,
        lifespan="on",
        access_log=False,  # the ledger says what was served, opscenter/lean.py what was refused
        server_header=False,
        proxy_headers=False,  # accounts/addresses.py says whom to believe
        date_header=True,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.DRAIN_S,
        ws=BoundedSocket,
        ws_max_size=frames.MAX_FRAME_BYTES,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        workers=workers,
        timeout_worker_healthcheck=crew.HUNG_S,
        ws_per_message_deflate=False,  # 200 MB of zeros are 200 KB until somebody inflates them
    )
    crew.serve(config)
