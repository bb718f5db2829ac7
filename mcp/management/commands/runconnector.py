"""`manage.py runconnector`: the connector, for whoever has the server's checkout at hand.

It is a program of its own with an environment of its own: the MCP SDK is called `mcp`, and so is
this app, and one interpreter holds one of them.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand

PROGRAM = "ops-connector"
BESIDE = Path("connector", ".venv", "bin", PROGRAM)  # where `make connector` puts it
NOT_THERE = 2  # the connector's own code for what is wrong with its configuration

# A folder in PYTHONPATH comes before what is installed: ours would hide the SDK.
NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "DJANGO_SETTINGS_MODULE")


class Command(BaseCommand):
    help = "Run the connector (ops-connector) with all options that follow, to this server."

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Becomes the connector. Django's parser would take options that are not its own."""
        self._become(argv[2:])

    def print_help(self, prog_name: str, subcommand: str) -> NoReturn:
        """`manage.py help runconnector` is the connector's own help."""
        self._become(["--help"])

    def handle(self, *args: Any, **options: Any) -> NoReturn:
        """By `call_command`, with the options as they would stand in a shell."""
        self._become([str(arg) for arg in args])

    def _become(self, arguments: Sequence[str]) -> NoReturn:
        program = found(settings.BASE_DIR)
        if program is None:
            self._missing(f"{BESIDE} is not there, and PATH has no {PROGRAM}")
        for name in NOT_PASSED_ON:
            os.unsetenv(name)
        # Where nothing else is said, this server is the gateway.
        os.putenv("MCP_API_URL_DEFAULT", settings.EXTERNAL_API_URL)
        sys.stdout.flush()
        try:
            os.execv(program, [PROGRAM, *arguments])  # noqa: S606  (no shell is wanted)
        except OSError as error:  # its environment was moved, and names a Python that is not there
            self._missing(f"{program} does not start: {error.strerror}")

    def _missing(self, why: str) -> NoReturn:
        self.stderr.write(f"{why}. Install the connector:\n  make connector")
        sys.exit(NOT_THERE)


def found(root: Path) -> str | None:
    """The connector beside the server, or else the one that a shell would find."""
    beside = root / BESIDE
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(PROGRAM)
