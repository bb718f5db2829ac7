"""How a machine is connected: a key, a program, a file; and which machines are there just now."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from accounts.keeping import Wanted
from accounts.principal import CALLBACK
from mcp.models import Connector, McpServer, McpTool
from mcp.shown import is_online
from opscenter import connector_archive
from opscenter.portal import making
from opscenter.portal.making import Made, NotMadeError
from opscenter.portal.pages import page, shown
from opscenter.portal.visitors import Visitor

PAGE = "portal-machine"
NAME, DAYS = "Connector", 365
MACHINES_SHOWN = 20
TOOLS_SHOWN = 2_000  # of all of them together; their names are short
FOLDER = "~/.config/opscenter-connector"
WORK = "~/agent-work"
PROGRAM = "~/.local/share/opscenter-connector"
# The connector's own server tells in its title what holds the commands of its shell.
LOCAL = "local"
TRIED = {"server": LOCAL, "tool": "list_directory", "arguments": {"path": "."}}
_LAYER = re.compile(r"\(sandbox: ([a-z]{1,20})\)$")
# The connector refuses these only with TLS, unless it is told otherwise.
_NEAR = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An MCP server of a machine, and what it offers."""

    row: McpServer
    tools: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as its owner sees it."""

    row: Connector
    is_online: bool
    servers: Sequence[Server]

    @property
    def layer(self) -> str:
        """What holds the commands that agents run there; empty where there is no such tool."""
        for server in self.servers:
            if server.row.name == LOCAL and (found := _LAYER.search(server.row.title)):
                return found[1]
        return ""


@page("GET", "HEAD", "POST")
def connect(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """What to type and what to write, with a key that is made in place and shown this once."""
    if request.method != "POST":
        return _page(request, visitor)
    wanted = Wanted(name=making.dated(NAME), scopes=[CALLBACK], days=DAYS)
    try:
        made = making.make(visitor, wanted, request.POST.get("ticket", ""))
    except NotMadeError as error:
        if error.key_id:
            messages.warning(request, str(error))
            return redirect(PAGE)
        answer = _page(request, visitor, refusal=str(error))
        answer.status_code = error.status
        return answer
    return _page(request, visitor, made=made)


@page()
def there(request: HttpRequest, visitor: Visitor) -> HttpResponse:
    """The visitor's machines alone, for the script."""
    return shown(request, "machine_there", visitor, machines=machines(visitor))


def machines(visitor: Visitor) -> Sequence[Machine]:
    """The visitor's machines in this organization, the last seen first."""
    rows = Connector.objects.filter(
        organization=visitor.organization, user=visitor.user, kind=Connector.Kind.TUNNEL
    )
    found = list(rows.order_by("-last_seen_at", "-id")[:MACHINES_SHOWN])
    of_machines = McpServer.objects.filter(connector__in=found).order_by("name")
    servers: dict[Any, list[Server]] = defaultdict(list)
    known = list(of_machines.defer("credential_sealed"))
    tools = _tools(known)
    for row in known:
        servers[row.connector_id].append(Server(row=row, tools=tools[row.pk]))
    now = timezone.now()
    return [
        Machine(row=row, is_online=is_online(row, now=now), servers=servers[row.pk])
        for row in found
    ]


def _tools(servers: Sequence[McpServer]) -> dict[Any, list[str]]:
    names: dict[Any, list[str]] = defaultdict(list)
    rows = McpTool.objects.filter(server__in=[server.pk for server in servers])
    for server_id, name in rows.order_by("server", "position").values_list("server_id", "name")[
        :TOOLS_SHOWN
    ]:
        names[server_id].append(name)
    return names


def _page(
    request: HttpRequest, visitor: Visitor, made: Made | None = None, refusal: str = ""
) -> HttpResponse:
    secret = made.plaintext if made else "sk-uc-your-key"
    return shown(
        request,
        "machine",
        visitor,
        made=made,
        refusal=refusal,
        ticket=making.ticket(visitor),
        machines=machines(visitor),
        folder=FOLDER,
        work=WORK,
        key_lines="\n".join(
            [
                f"mkdir -p {FOLDER} {WORK}",
                f"(umask 077; printf '%s\\n' '{secret}' > {FOLDER}/key); chmod 600 {FOLDER}/key",
            ]
        ),
        toml=_toml(visitor),
        archive=f"{settings.EXTERNAL_API_URL}/{connector_archive.PATH}",
        with_pip="\n".join(
            [
                f"python3 -m venv {PROGRAM}",
                f"{PROGRAM}/bin/pip install {settings.EXTERNAL_API_URL}/{connector_archive.PATH}",
                f'export PATH="$PATH:"{PROGRAM}/bin',
            ]
        ),
        try_it="\n".join(
            [
                f"curl {settings.EXTERNAL_API_URL}/api/mcp/execute \\",
                f'  -H "Authorization: Bearer $(cat {FOLDER}/key)" \\',
                f"  -H 'Content-Type: application/json' -d '{json.dumps(TRIED)}'",
            ]
        ),
    )


def _toml(visitor: Visitor) -> str:
    """`connector.toml`. A string of JSON is one of TOML."""
    url = settings.EXTERNAL_API_URL
    parts = urlsplit(url)
    lines = [f"api_url = {json.dumps(url)}"]
    if parts.scheme == "http" and parts.hostname not in _NEAR:
        lines += ["allow_http = true             # whoever is on the way can read the key"]
    lines += [
        f'user_id = "{visitor.user.pk}"',
        'api_key_file = "key"          # in the folder of this file',
        "",
        "[local]",
        f'allowed_paths = ["{WORK}"]    # where agents may read, write and run commands',
    ]
    return "\n".join(lines)
