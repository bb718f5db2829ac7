"""`manage.py serve`: the server that people run."""

import os
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from billing import terms
from billing.models import Plan
from opscenter import exporter
from opscenter.listening import check_free

# Clients keep one connection for a session and think between two requests; a server that closes
# first now and then closes on a request that is just being sent.
KEEP_ALIVE_S = 75


class Command(BaseCommand):
    help = "Serve on OPSCENTER_HOST and OPSCENTER_PORT with uvicorn, one process."

    def add_arguments(self, parser: CommandParser) -> None:
        """What runs beside it."""
        parser.add_argument(
            "--no-exporter", action="store_true", help="send no usage to Lago from here"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until SIGINT or SIGTERM."""
        os.umask(0o077)  # what is in var/ is the operator's alone
        check_free()
        _check_default_plan()
        with exporter.beside(wanted=not options["no_exporter"]):
            _serve()


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


def _serve() -> None:
    uvicorn.run(
        "opscenter.asgi:application",
        host=settings.HOST,
        port=settings.PORT,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,  # the ledger says what was served, opscenter/lean.py what was refused
        server_header=False,
        proxy_headers=False,  # accounts/addresses.py says whom to believe
        date_header=True,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.DRAIN_S,
    )
