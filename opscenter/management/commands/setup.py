"""`manage.py setup`: everything a new installation needs. A second run changes nothing."""

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from opscenter import first_run, roles
from opscenter.first_run import Offer, Opened
from opscenter.listening import check_free
from proxy.models import Route


class Command(BaseCommand):
    help = "Prepare the database; at first also an organization, an operator, a key, a route."

    def add_arguments(self, parser: CommandParser) -> None:
        """One choice, for later: what answers for all models."""
        names = [*first_run.NAMED_BY, first_run.DEMO.name]
        parser.add_argument(
            "--before-serving", action="store_true", help="Stop first if nobody could serve then."
        )
        parser.add_argument("--upstream", choices=names, help="Make this the default route.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints the password and the key once; they are stored nowhere."""
        os.umask(0o077)  # what is in var/ is the operator's alone
        if options["before_serving"]:
            check_free()
        with _alone(settings.VAR_DIR):
            call_command("migrate", verbosity=0)
            roles.write()
            # Asked before anything is made: who leaves here has lost no password.
            offer = self._wanted(options["upstream"])
            opened = first_run.open_installation()
            changes = first_run.changed_by(offer) if offer else []
            route = first_run.lead_all_to(offer) if offer else first_run.default_route()
        self._tell(opened, route)
        self.stdout.writelines(f"{change}\n" for change in changes)
        if options["upstream"]:
            self.stdout.write("A server that runs reads .env only at its start: start it again.\n")

    def _wanted(self, name: str | None) -> Offer | None:
        """What is to answer for all models, None where that is decided already."""
        if name is None:
            return None if Route.objects.exists() else self._chosen(first_run.offers())
        for offer in first_run.offers():
            if offer.name == name:
                return offer
        raise CommandError(
            f"{name} is not configured: set {first_run.NAMED_BY[name]} in .env first."
        )

    def _chosen(self, offers: list[Offer]) -> Offer:
        best = offers[0]
        if best is first_run.DEMO or not sys.stdin.isatty():
            return best
        said = input(f"{best.because} is set. Send every model to {best.name}? [Y/n] ")
        return first_run.DEMO if said.strip().lower() in {"n", "no"} else best

    def _tell(self, opened: Opened | None, route: Route | None) -> None:
        url = settings.EXTERNAL_API_URL
        bold = self.style.MIGRATE_HEADING
        lines = [bold("Ops-Center is ready."), "", f"  Portal   {url}/portal/"]
        lines += [f"  Admin    {url}/admin/"]
        if opened:
            lines += [f"           user {opened.username}, password {opened.password}"]
        lines += [f"  Models   {_where(route)}", "", bold("Point Claude Code at it:"), ""]
        lines += [f"  export ANTHROPIC_BASE_URL={url}"]
        lines += [f"  export ANTHROPIC_AUTH_TOKEN={opened.key if opened else 'sk-uc-your-key'}"]
        if route is not None:
            model = first_run.model_to_show(route)
            lines += [f"  export ANTHROPIC_MODEL={shlex.quote(model)}"]
        lines += ["", *self._advice(opened, route), ""]
        self.stdout.write("\n".join(lines))

    def _advice(self, opened: Opened | None, route: Route | None) -> list[str]:
        lines = []
        if opened:
            lines += ["The password and the key are shown this once; they are stored nowhere."]
        else:
            lines += [
                "Another key: .venv/bin/python manage.py createapikey --user operator --name laptop"
            ]
        better = first_run.offers()[0]
        if route is not None and route.upstream.kind == "demo":
            lines += ['Try it:      claude -p "demo:tools" --allowedTools Bash']
            if better is not first_run.DEMO and not first_run.is_used(better):
                command = f".venv/bin/python manage.py setup --upstream {better.name}"
                lines += [f"{better.because} is set. To use it: {command}"]
        here = settings.EXTERNAL_API_URL.startswith("http://127.0.0.1")
        way = "make connector, then README.md, Connect a machine"
        page = f"{settings.EXTERNAL_API_URL}/portal/machine/"  # on a host there is no checkout
        return [*lines, f"Agents may use a machine's tools: {way if here else page}"]


def _where(route: Route | None) -> str:
    if route is None:
        return "by the routes in the admin"
    if route.upstream.kind == "demo":
        return "answered by the built-in demo: no model, but everything can be tried"
    return f"answered by {route.upstream.name} at {route.upstream.base_url}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One set-up at a time: two on an empty database would both make the tables."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "setup.lock").open("w")
    except OSError as error:
        raise CommandError(
            f"OPSCENTER_VAR_DIR: {folder} cannot be used: {error.strerror}."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
