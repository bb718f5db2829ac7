"""What tools a user's machines offer now, and on which of them a call would run."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, F, FilteredRelation, Q, QuerySet, Value, When

from accounts.principal import Principal
from mcp import definitions, policies, prepared
from mcp.models import Connector, McpServer, McpTool
from mcp.registry import is_online

SEE = "GET /api/mcp/servers/me lists what there is."
_TOLD = (
    "id",
    "connector_id",
    "name",
    "connector__name",
    "can_work",
    "connector__drained_at",
    "state",
    "error",
    "wanted__name",
    "wanted__annotations",
    "wanted__digest",
    "policy_version",
)


class RefusedError(Exception):
    """The call does not begin. The text is for the model that asked, the code for programs."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A tool that can be run now."""

    server: str
    tool: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any]
    digest: str
    has_effects: bool
    connector_id: UUID
    connector: str  # its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A tool where a call of it would run now."""

    connector_id: UUID
    server: str
    tool: str
    has_effects: bool
    definition: str  # its digest
    policy_version: int  # of the organization's newest policy


def offered(principal: Principal) -> list[Offered]:
    """All tools of all ready servers. Of two servers of one name the first in order counts."""
    servers: dict[str, McpServer] = {}
    ready = _servers_of(principal).filter(_takes_calls(), state=McpServer.State.READY)
    for server in ready.select_related("connector"):
        servers.setdefault(server.name, server)
    by_id = {server.id: server for server in servers.values()}
    tools = McpTool.objects.filter(server__in=by_id).order_by("server__name", "position")
    return [_offered(by_id[tool.server_id], tool) for tool in tools]


def of_server(principal: Principal, server_name: str, machine: str = "") -> list[Offered]:
    """All tools of one server, on the machine of this name if one is said. Raises RefusedError."""
    server_id, *_ = _ready(principal, server_name, machine=machine)
    server = McpServer.objects.select_related("connector").filter(id=server_id).first()
    if server is None:  # it went away between the two looks
        raise _unknown(server_name, machine)
    tools = McpTool.objects.filter(server_id=server_id).order_by("position")
    return [_offered(server, tool) for tool in tools]


def find(principal: Principal, server_name: str, tool_name: str, machine: str = "") -> Target:
    """Where a call of the tool would run now. Raises RefusedError."""
    found = _ready(principal, server_name, tool_name, machine)
    _, connector_id, name, *_, tool, annotations, definition, policy_version = found
    if tool is None:
        text = f"The server {name} has no tool {tool_name[:100]!r}; {SEE}"
        raise RefusedError("no_such_tool", text)
    return Target(
        connector_id=connector_id,
        server=name,
        tool=tool,
        has_effects=definitions.has_effects(annotations),
        definition=definition,
        policy_version=policy_version,
    )


def _ready(
    principal: Principal, server_name: str, tool_name: str = "", machine: str = ""
) -> tuple[Any, ...]:
    """What is _TOLD of the server that a call would go to now. Raises RefusedError."""
    wanted = {
        "organization_id": principal.organization_id,
        "user_id": principal.user_id,
        "name": server_name[: definitions.TITLE_CHARS],
        "tool": tool_name[: definitions.TITLE_CHARS],
    }
    if machine:
        named = _server_on(**wanted, machine=machine[: definitions.TITLE_CHARS])
    else:
        named = _server_of(**wanted)
    if not named:
        raise _unknown(server_name, machine)
    _, _, name, machine, can_work, drained_at, state, error, *_ = named[0]
    if drained_at is not None:
        text = f"The machine {machine!r} with the server {name} is drained: an operator lets it go."
        raise RefusedError("drained", text)
    if not can_work:
        text = f"The machine {machine!r} with the server {name} is offline."
        raise RefusedError("offline", text)
    if state != McpServer.State.READY:
        how = "has failed" if state == McpServer.State.FAILED else "still starts"
        why = f": {error}" if error else "."
        raise RefusedError("not_ready", f"The server {name} {how}{why}")
    return tuple(named[0])


def _unknown(server_name: str, machine: str) -> RefusedError:
    where = f" on a machine {machine[:100]!r}" if machine else ""
    return RefusedError("no_such_server", f"You have no server {server_name[:100]!r}{where}; {SEE}")


@prepared.select
def _server_of(*, organization_id: UUID, user_id: int, name: str, tool: str) -> QuerySet[Any, Any]:
    """Of the servers of this name the one that a call goes to, and its tool if it has it."""
    servers = _servers(organization_id, user_id).filter(name=name)
    return _with(tool, servers, organization_id).values_list(*_TOLD)[:1]


@prepared.select
def _server_on(
    *, organization_id: UUID, user_id: int, name: str, tool: str, machine: str
) -> QuerySet[Any, Any]:
    """The same on the machines of one name."""
    servers = _servers(organization_id, user_id).filter(name=name, connector__name=machine)
    return _with(tool, servers, organization_id).values_list(*_TOLD)[:1]


def _with(tool: str, servers: QuerySet[McpServer], organization_id: UUID) -> QuerySet[McpServer]:
    return servers.annotate(
        wanted=FilteredRelation("tools", condition=Q(tools__name=tool)),
        policy_version=policies.newest_version(organization_id),
    )


def _takes_calls() -> Q:
    """Whether a machine is there, and no operator lets it go."""
    return is_online("connector__") & Q(connector__drained_at__isnull=True)


def _servers_of(principal: Principal) -> QuerySet[McpServer]:
    return _servers(principal.organization_id, principal.user_id)


def _servers(organization_id: UUID, user_id: int) -> QuerySet[McpServer]:
    """The user's servers, those that can be called now first.

    Then those of the machine whose session is the youngest: it is where the user came last. (When
    it was seen last says nothing, for all that are there are seen every few seconds.)
    """
    mine = McpServer.objects.filter(
        connector__organization_id=organization_id,
        connector__user_id=user_id,
    )
    can_work = Case(When(_takes_calls(), then=Value(True)), default=Value(False))
    is_ready = Case(When(Q(state=McpServer.State.READY), then=Value(True)), default=Value(False))
    return mine.annotate(can_work=can_work, is_ready=is_ready).order_by(
        F("can_work").desc(),
        F("is_ready").desc(),
        F("connector__opened_at").desc(nulls_last=True),
        "connector_id",
    )


def _offered(server: McpServer, tool: McpTool) -> Offered:
    connector: Connector = server.connector
    return Offered(
        server=server.name,
        tool=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=tool.annotations,
        digest=tool.digest,
        has_effects=definitions.has_effects(tool.annotations),
        connector_id=server.connector_id,
        connector=connector.name,
    )
