"""The rows of servers that the gateway reaches itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from django.db import transaction

from accounts.principal import Principal
from mcp import clock, registry
from mcp.frames import Announced
from mcp.models import Connector, McpServer, McpTool, ToolCall
from mcp.registry import Opened
from mcp.states import State

EPOCH = 1  # of every gateway's connector, for ever: all processes work as one session
MAX_IN_FLIGHT = 8  # all servers of a user share it; a process runs those of eight users
NAMESPACE = UUID("5d3a7d1e-6c0b-4e0f-9c5e-2b6a1f0c8d47")  # of instances; any would do
MOST_DUE = 256  # connectors looked at in one step; the others come in the next
MOST_HEARD = 10_000  # connectors listened for, a kilobyte each; the others' calls take a second
LIST_S = 300.0  # between two lists of a server's tools
VISITED = "web-"  # so begin the names of servers that requests name by their address
FORGOTTEN_S = 24 * 3600.0  # after which such a one goes, if no request has named it again


class NoRoomError(Exception):
    """The user has as many servers as may be. The text says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A server, and how to reach it."""

    id: UUID
    connector_id: UUID
    name: str
    url: str
    credential_sealed: str


def keep(principal: Principal, announced: Announced, url: str, credential_sealed: str) -> McpServer:
    """Write a server down with its tools; one of the same name is replaced. Raises NoRoomError."""
    with transaction.atomic():
        connector_id = _connector_of(principal)
        problems = registry.announce(_session(connector_id), announced)
        server = McpServer.objects.filter(connector_id=connector_id, name=announced.name).first()
        if server is None:
            raise NoRoomError(f"You have as many servers as may be: {problems[0].reason}.")
        server.url, server.credential_sealed = url, credential_sealed
        server.save(update_fields=["url", "credential_sealed"])
    return server


def is_fresh(principal: Principal, name: str) -> bool:
    """Whether a visited server's tools are known well enough; old visits are forgotten."""
    mine = McpServer.objects.filter(
        connector__kind=Connector.Kind.GATEWAY,
        connector__organization_id=principal.organization_id,
        connector__user_id=principal.user_id,
    )
    visits = mine.filter(name__startswith=VISITED)
    visits.filter(updated_at__lt=clock.after(-FORGOTTEN_S)).delete()
    now_known = visits.filter(name=name, state=McpServer.State.READY)
    return now_known.filter(updated_at__gt=clock.after(-LIST_S)).exists()


def described(server: Reached, announced: Announced) -> None:
    """Write down how a server was just found, unless it was removed or replaced meanwhile."""
    with transaction.atomic():
        # As everybody who changes a connector's servers: first the connector, then they.
        list(Connector.objects.select_for_update(no_key=True).filter(id=server.connector_id))
        if McpServer.objects.filter(
            id=server.id, url=server.url, credential_sealed=server.credential_sealed
        ).exists():
            registry.announce(_session(server.connector_id), announced)
            registry.see([server.connector_id])


def failed(server: Reached, reason: str) -> None:
    """Say why a server cannot be used. Its tools stay known."""
    McpServer.objects.filter(id=server.id, url=server.url).update(
        state=McpServer.State.FAILED, error=reason[:500], updated_at=clock.now()
    )


def due() -> list[tuple[UUID, UUID]]:
    """The gateway's connectors with queued calls, each with its organization."""
    queued = ToolCall.objects.filter(state=State.QUEUED, connector__kind=Connector.Kind.GATEWAY)
    found = queued.order_by().values_list("connector_id", "organization_id").distinct()
    return list(found[:MOST_DUE])


def heard_of() -> set[UUID]:
    """The gateway's connectors that had a server which answered lately."""
    found = Connector.objects.filter(
        kind=Connector.Kind.GATEWAY, last_seen_at__gt=clock.after(-2 * LIST_S)
    )
    return set(found.order_by("-last_seen_at").values_list("id", flat=True)[:MOST_HEARD])


def to_cancel(ids: Iterable[UUID]) -> set[UUID]:
    """Those of the calls that somebody wants stopped."""
    found = ToolCall.objects.filter(id__in=list(ids), cancel_requested=True)
    return set(found.values_list("id", flat=True))


def known(
    connector_id: UUID, name: str, tool: object
) -> tuple[Reached, dict[str, Any] | None] | None:
    """The server of this name, if it is still there, and what the tool takes, if that is known."""
    found = McpServer.objects.filter(connector_id=connector_id, name=name).first()
    if found is None:
        return None
    tools = McpTool.objects.filter(server=found, name=tool) if isinstance(tool, str) else None
    schema = None if tools is None else tools.values_list("input_schema", flat=True).first()
    return _reached(found), schema if isinstance(schema, dict) else None


def take_stale(most: int) -> list[Reached]:
    """Servers whose list of tools is old. Of several processes one gets each."""
    stale = McpServer.objects.exclude(name__startswith=VISITED).filter(
        connector__kind=Connector.Kind.GATEWAY,
        connector__user__is_active=True,
        updated_at__lt=clock.after(-LIST_S),
    )
    return [
        _reached(server)
        for server in stale.order_by("updated_at")[:most]
        if stale.filter(id=server.id).update(updated_at=clock.now()) == 1
    ]


def _reached(server: McpServer) -> Reached:
    return Reached(
        id=server.id,
        connector_id=server.connector_id,
        name=server.name,
        url=server.url,
        credential_sealed=server.credential_sealed,
    )


def _connector_of(principal: Principal) -> UUID:
    """The connector that stands for the gateway calling for this user."""
    owner = {"organization_id": principal.organization_id, "user_id": principal.user_id}
    found, _ = Connector.objects.get_or_create(
        **owner,
        instance=uuid5(NAMESPACE, f"{principal.organization_id}/{principal.user_id}"),
        defaults={
            "kind": Connector.Kind.GATEWAY,
            "name": "gateway",
            "epoch": EPOCH,
            "max_in_flight": MAX_IN_FLIGHT,
            "opened_at": clock.now(),
        },
    )
    registry.see([found.id])
    return found.id


def _session(connector_id: UUID) -> Opened:
    return Opened(connector_id=connector_id, epoch=EPOCH, max_in_flight=MAX_IN_FLIGHT)
