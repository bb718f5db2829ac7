"""Upstreams from the command line: list them, add one with its routes, test them."""

import math
import sys
from argparse import BooleanOptionalAction
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxy import credentials, probe, table
from proxy.management.adding import AddingError, Wish, add
from proxy.management.lines import aligned
from proxy.models import Route, Upstream
from proxy.validators import CREDENTIAL_CHARS


class Command(BaseCommand):
    """List, add and test upstreams."""

    help = "List, add and test upstreams. Switch them off, or remove them, in the admin."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | add | test")
        verbs.add_parser("list", help="all of them, each with its routes")
        test = verbs.add_parser("test", help="ask one, or all, for its models")
        test.add_argument("name", metavar="NAME", nargs="?")
        test.add_argument("--all", action="store_true", help="every one that is switched on")
        _add_arguments(verbs.add_parser("add", help="make one, with routes to it"))

    def handle(self, *args: Any, **options: Any) -> None:
        {"list": self._list, "add": self._add, "test": self._test}[options["verb"]](options)

    def _list(self, options: dict[str, Any]) -> None:
        rows = [("NAME", "KIND", "ADDRESS", "CREDENTIAL", "ROUTES")]
        for upstream in Upstream.objects.prefetch_related("routes").order_by("name"):
            name = upstream.name if upstream.enabled else f"{upstream.name} (off)"
            routes = ", ".join(map(_told, upstream.routes.all())) or "none"
            address = upstream.base_url or "built in"
            rows.append((name, upstream.kind, address, credentials.state(upstream), routes))
        self.stdout.write("\n".join(aligned(rows)))

    def _add(self, options: dict[str, Any]) -> None:
        try:
            added = add(_wish(options), replace=options["replace"])
        except AddingError as error:
            raise CommandError(str(error)) from error
        upstream = added.upstream
        for note in added.notes:
            self.stderr.write(note)
        verb = "Added" if added.is_new else "Updated"
        place = f" at {upstream.base_url}" if upstream.base_url else ""
        self.stdout.write(
            f"{verb} {upstream} ({upstream.kind}){place},"
            f" credential: {credentials.state(upstream)}."
        )
        for route in added.routes:
            target = route.target_model or "the same name"
            self.stdout.write(f"  {route.pattern} leads to {upstream} as {target}")
        if not added.routes:
            self.stdout.write(
                "  No route leads there yet: the same line with --route PATTERN --replace adds one."
            )
        self.stdout.write(f"Test it: .venv/bin/python manage.py upstreams test {upstream}")

    def _test(self, options: dict[str, Any]) -> None:
        bad, wanted = 0, _wanted(options["name"], options["all"])
        for upstream in wanted:
            finding = async_to_sync(probe.tested)(table.config_of(upstream))
            word = "ok" if finding.ok else "BAD"
            self.stdout.write(f"{word:<4} {upstream}: {finding} ({finding.ms} ms)")
            if finding.credential == "refused":
                anew = f"upstreams add {upstream} --replace --credential-stdin"
                self.stdout.write(f"     To store another: .venv/bin/python manage.py {anew}")
            bad += not finding.ok
        if any(upstream.credential_variable for upstream in wanted):
            self.stdout.write("A running server knows a variable only as it was at its start.")
        if bad:
            raise CommandError(f"{bad} of {len(wanted)} cannot be used as it is.")


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("name", metavar="NAME", help="letters, digits, dashes")
    parser.add_argument("url", metavar="URL", nargs="?", default="", help="with or without /v1")
    parser.add_argument("--kind", choices=Upstream.Kind.values, help="guessed where it is missing")
    credential = parser.add_mutually_exclusive_group()
    credential.add_argument(
        "--credential-variable", metavar="VAR", help="the environment variable that holds it"
    )
    credential.add_argument(
        "--credential-stdin", action="store_true", help="read it from stdin, store it encrypted"
    )
    parser.add_argument("--credential-header", choices=Upstream.CredentialHeader.values)
    parser.add_argument(
        "--route", action="append", default=[], metavar="PATTERN[=TARGET]", help="may be repeated"
    )
    parser.add_argument("--position", type=int, metavar="N", help="of its routes; lowest first")
    parser.add_argument("--weight", type=int, metavar="N", help="among equal positions")
    for name in ("--context-window", "--max-output-tokens", "--concurrency"):
        parser.add_argument(name, type=int, metavar="N")
    for name in ("--connect-s", "--answer-s", "--idle-s"):
        parser.add_argument(name, type=seconds, metavar="SECONDS")
    parser.add_argument(
        "--link-local",
        dest="private_networks",
        action="store_const",
        const=True,
        help="allow link-local and metadata addresses",
    )
    parser.add_argument(
        "--meters-itself",
        action=BooleanOptionalAction,
        default=None,
        help="it reports usage to Lago itself: send none of its requests",
    )
    parser.add_argument("--no-tls-verify", dest="tls_verify", action="store_const", const=False)
    parser.add_argument("--dialect", choices=Upstream.Dialect.values, help="of a Brigade")
    parser.add_argument(
        "--alias",
        dest="aliases",
        action="append",
        metavar="NAME=AGENT",
        help="of a Brigade: our name of one of its agents; may be repeated, and replaces the table",
    )
    parser.add_argument("--replace", action="store_true", help="update one that is there already")


def seconds(raw: str) -> float:
    """A number: not inf, and not nan, which no limit would catch."""
    value = float(raw)
    if not math.isfinite(value):
        raise ValueError(raw)
    return value


FIELDS = (
    "kind",
    "credential_variable",
    "credential_header",
    "context_window",
    "max_output_tokens",
    "concurrency",
    "connect_s",
    "answer_s",
    "idle_s",
    "private_networks",
    "tls_verify",
    "meters_itself",
    "dialect",
)


def _wish(options: dict[str, Any]) -> Wish:
    return Wish(
        name=options["name"],
        url=options["url"],
        credential=_from_stdin() if options["credential_stdin"] else "",
        routes=tuple(options["route"]),
        position=options["position"],
        weight=options["weight"],
        fields={name: options[name] for name in FIELDS if options[name] is not None}
        | ({"aliases": _aliases(options["aliases"])} if options["aliases"] else {}),
    )


def _aliases(given: list[str]) -> dict[str, str]:
    found = {}
    for raw in given:
        name, equals, agent = raw.rpartition("=")
        if not equals:
            raise CommandError(f"--alias: {raw!r} is not NAME=AGENT.")
        found[name] = agent
    return found


def _from_stdin() -> str:
    credential = sys.stdin.read(CREDENTIAL_CHARS + 3).strip()  # a line's end is not part of it
    if not credential:
        raise CommandError("--credential-stdin: nothing came on stdin.")
    return credential


def _wanted(name: str | None, every: bool) -> list[Upstream]:
    if bool(name) == every:
        raise CommandError("Say NAME or --all.")
    if every:
        return list(Upstream.objects.filter(enabled=True).order_by("name"))
    found = list(Upstream.objects.filter(name=name))
    if not found:
        known = ", ".join(Upstream.objects.order_by("name").values_list("name", flat=True))
        raise CommandError(f"NAME: there is no upstream {name!r}; there are: {known or 'none'}.")
    return found


def _told(route: Route) -> str:
    target = f"={route.target_model}" if route.target_model else ""
    return f"{route.pattern}{target}{'' if route.enabled else ' (off)'}"
