"""`manage.py runconnector`: the connector, for whoever has the server's checkout at hand.

It is a program of its own with an environment of its own: the MCP SDK is called `mcp`, and so is
this app, and one interpreter holds one of them.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
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
        environ = passed_on(os.environ)  # noqa: TID251  (handed on; nothing of it is a setting)
        program = found(settings.BASE_DIR, environ.get("PATH", ""))
        if program is None:
            self._missing(f"{BESIDE} is not there, and PATH has no {PROGRAM}")
        sys.stdout.flush()
        try:
            os.execve(program, [PROGRAM, *arguments], environ)  # noqa: S606  (no shell is wanted)
        except OSError as error:  # its environment was moved, and names a Python that is not there
            self._missing(f"{program} does not start: {error.strerror}")

    def _missing(self, why: str) -> NoReturn:
        self.stderr.write(f"{why}. Install the connector:\n  make connector")
        sys.exit(NOT_THERE)


def found(root: Path, path: str) -> str | None:
    """The connector beside the server, or else the one that a shell would find."""
    beside = root / BESIDE
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(PROGRAM, path=path)


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for the connector: this server, where nothing says otherwise."""
    kept = {name: value for name, value in environ.items() if name not in NOT_PASSED_ON}
    return {"MCP_API_URL_DEFAULT": settings.EXTERNAL_API_URL} | kept
