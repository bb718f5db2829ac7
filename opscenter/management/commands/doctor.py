"""`manage.py doctor`: looks at everything a request needs, and says what helps."""

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from opscenter.doctor import installation, neighbours, server, tables
from opscenter.doctor.finding import Check, Finding, Verdict, run

LEAST_COLUMNS = 60  # in a narrower window the terminal breaks the lines
KEY_CHARS = 8192  # access tokens of Keycloak are keys too


class Command(BaseCommand):
    help = "Look at settings, database, neighbours and the server; exit with 1 if any fails."
    requires_system_checks = ()  # what is wrong is what it is asked for

    def add_arguments(self, parser: CommandParser) -> None:
        """A key is never an argument: everybody on the machine could read it."""
        parser.add_argument("--key-stdin", action="store_true", help="read a key from stdin")
        parser.add_argument("--ask", metavar="MODEL", default="", help="ask a model, with the key")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints the table, no secret among it; exits with 1 where a line fails."""
        from_stdin = options["key_stdin"]
        key = (
            sys.stdin.read(KEY_CHARS).strip()
            if from_stdin
            else settings.READ_CREDENTIAL("ANTHROPIC_AUTH_TOKEN")
        )
        findings = run(_first())
        database = next(found for found in findings if found.check == "database")
        more = [] if database.verdict is Verdict.FAILS else neighbours.upstreams()
        findings += run([*more, *server.checks(key, options["ask"])])
        self.stdout.write(_as_json(findings) if options["json"] else self._table(findings))
        if any(found.verdict is Verdict.FAILS for found in findings):
            sys.exit(1)

    def _table(self, findings: list[Finding]) -> str:
        wide = max(len(found.check) for found in findings)
        paint: dict[Verdict, Callable[[str], str]] = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARN: self.style.WARNING,
            Verdict.FAILS: self.style.ERROR,
            Verdict.SKIPPED: str,
        }
        indent = len(f"{Verdict.SKIPPED}  {'':<{wide}}  ")
        room = max(shutil.get_terminal_size().columns, LEAST_COLUMNS) - indent
        lines = []
        for found in findings:
            told = _wrapped(found, room)
            word = paint[found.verdict](f"{found.verdict:<{len(Verdict.SKIPPED)}}")
            lines.append(f"{word}  {found.check:<{wide}}  {told[0]}")
            lines += [f"{'':<{indent}}{line}" for line in told[1:]]
        return "\n".join([*lines, _summed_up(findings)])


def _wrapped(found: Finding, room: int) -> list[str]:
    """What a line of the table says, in as many as it needs. Addresses and commands stay whole."""
    folder = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False)
    lines = [found.text, found.help, f"See {found.docs}" if found.help else ""]
    return [part for line in lines for part in folder.wrap(line)]


def _summed_up(findings: list[Finding]) -> str:
    counts = Counter(found.verdict for found in findings)
    if not counts[Verdict.FAILS] + counts[Verdict.WARN]:
        return "All is well."
    return f"{counts[Verdict.FAILS]} failed, {counts[Verdict.WARN]} warned."


def _first() -> list[Check]:
    """Everything that needs no key and no row."""
    looks = {
        "secrets": installation.secrets,
        "env file": installation.env_file,
        "disk": installation.disk,
        "addresses": installation.addresses,
        "database": tables.database,
        "clock": tables.clock,
        "redis": neighbours.bell,
        "keycloak": neighbours.keycloak,
        "lago": neighbours.lago_there,
        "machines": tables.machines,
        "outbox": tables.outbox,
        "server": server.port,
        "health": server.health,
        "outside": server.outside,
    }
    docs = "docs/setup.md#troubleshooting"
    return [Check(name=name, look=look, docs=docs) for name, look in looks.items()]


def _as_json(findings: list[Finding]) -> str:
    is_well = not any(found.verdict is Verdict.FAILS for found in findings)
    return json.dumps({"ok": is_well, "checks": [found.as_dict() for found in findings]}, indent=2)
