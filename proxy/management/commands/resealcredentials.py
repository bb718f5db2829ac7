"""Encrypt all stored credentials under the newest key, after a new one was put before the old."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from proxy import credentials


class Command(BaseCommand):
    """Encrypt every stored credential anew."""

    help = "Encrypt every stored credential under the first key of OPSCENTER_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.ENCRYPTION_KEYS:
            raise CommandError("OPSCENTER_ENCRYPTION_KEYS is not set.")
        came = credentials.reseal_all()
        s = "" if came.done == 1 else "s"
        self.stdout.write(f"{came.done} stored credential{s} encrypted under the newest key.")
        if came.stuck:
            rows = "\n".join(f"  {row}" for row in came.stuck)
            raise CommandError(
                f"No key in OPSCENTER_ENCRYPTION_KEYS fits these; keep the old keys, or store them"
                f" anew:\n{rows}"
            )
        if came.done:
            self.stdout.write(
                "A running server reads them only if it was started with that key. Then take the"
                " other keys away, and start it again."
            )
