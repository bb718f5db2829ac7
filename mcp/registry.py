"""Which machines are there, and what MCP servers each of them fronts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from accounts import rates
from accounts.principal import Principal
from billing import locking
from mcp import clock, definitions, frames, prepared
from mcp.models import Connector, McpServer, McpTool, ToolCall

ONLINE_S = 45.0  # without a word; a socket and a poll are noted every ten seconds
FRESH_S = 5.0  # seen so lately, a machine that says something again needs no note of it
MAX_CONNECTORS = 32  # of one user at once: a fleet has users of its own
MAX_KNOWN = 256  # of one user, online or not: each keeps rows
MAX_SERVERS = 64  # of one connector


NO_SESSION = "There is no such session: begin one with a hello."


class TooManyError(Exception):
    """Too often, or too many of them. The text says which."""


class NoSessionError(Exception):
    """This machine has no such session."""


class NewerSessionError(Exception):
    """A newer session of this machine is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session as the database knows it."""

    connector_id: UUID
    epoch: int
    max_in_flight: int


def open_session(principal: Principal, hello: frames.Hello, transport: str) -> Opened:
    """Begin the newest session of this machine. Raises TooManyError."""
    found = rates.tried(rates.CONNECTOR_SESSIONS, str(principal.user_id))
    if found is not None and found.is_over:
        text = f"A session can be opened {found.limit} times in a minute only."
        raise TooManyError(f"{text} Try again in {found.resets_in_s} seconds.")
    mine = Q(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        kind=Connector.Kind.TUNNEL,
    )
    with transaction.atomic():
        # Of two machines at once both would see the last free place.
        locking.take_turns([f"connectors:{principal.user_id}"])
        of_user = Connector.objects.filter(mine)
        online = of_user.filter(is_online()).exclude(instance=hello.instance)
        if online.count() >= MAX_CONNECTORS:
            raise TooManyError(f"{MAX_CONNECTORS} machines of yours are connected already.")
        row = of_user.filter(instance=hello.instance).first() or _new(principal, hello, of_user)
        Connector.objects.filter(id=row.id).update(
            epoch=F("epoch") + 1,
            name=plain(hello.name),
            agent=plain(hello.agent),
            platform=plain(hello.platform),
            max_in_flight=hello.max_in_flight,
            key_id=principal.key_id,
            transport=transport,
            opened_at=clock.now(),
            last_seen_at=clock.now(),
            closed_at=None,
        )
        # Locked by the update: this epoch is ours.
        epoch: int = Connector.objects.values_list("epoch", flat=True).get(id=row.id)
    return Opened(connector_id=row.id, epoch=epoch, max_in_flight=hello.max_in_flight)


def _new(principal: Principal, hello: frames.Hello, of_user: QuerySet[Connector]) -> Connector:
    if of_user.count() >= MAX_CONNECTORS:
        # Instances that a user threw away, without a history that anybody could ask for.
        has_calls = Exists(ToolCall.objects.filter(connector=OuterRef("id")))
        gone = of_user.exclude(is_online()).exclude(has_calls).order_by("last_seen_at")
        of_user.filter(id__in=list(gone.values_list("id", flat=True)[:MAX_KNOWN])).delete()
    if of_user.count() >= MAX_KNOWN:
        raise TooManyError(f"{MAX_KNOWN} machines of yours are known. Take some away first.")
    return Connector.objects.create(
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        instance=hello.instance,
        name=plain(hello.name),
    )


def resume_session(principal: Principal, instance: UUID, epoch: int) -> Opened:
    """The machine's session of this epoch, if that is its newest.

    Raises NewerSessionError, and NoSessionError where there was none or it has ended.
    """
    found = _standing(
        organization_id=principal.organization_id, user_id=principal.user_id, instance=instance
    )
    if not found:
        raise NoSessionError(NO_SESSION)
    connector_id, newest, has_closed, max_in_flight, is_fresh = found[0]
    if newest > epoch:
        raise NewerSessionError("A newer session of this machine is there.")
    if newest < epoch or has_closed:
        raise NoSessionError(NO_SESSION)
    if not is_fresh:
        see([connector_id])
    return Opened(connector_id=connector_id, epoch=epoch, max_in_flight=max_in_flight)


@prepared.select
def _standing(*, organization_id: UUID, user_id: int, instance: UUID) -> QuerySet[Any, Any]:
    """The machine's newest session, and whether the machine was seen just now."""
    rows = Connector.objects.filter(
        organization_id=organization_id,
        user_id=user_id,
        kind=Connector.Kind.TUNNEL,
        instance=instance,
    ).annotate(
        has_closed=_whether(closed_at__isnull=False),
        is_fresh=_whether(last_seen_at__gt=clock.after(-FRESH_S)),
    )
    return rows.values_list("id", "epoch", "has_closed", "max_in_flight", "is_fresh")


def _whether(**condition: Any) -> Case:
    return Case(When(**condition, then=Value(True)), default=Value(False))


def announce(session: Opened, announced: frames.Announced) -> list[definitions.Problem]:
    """Replace what is known of this server. Gives what of it is not taken.

    Raises NewerSessionError.
    """
    checked = definitions.check_all(announced.tools)
    with transaction.atomic():
        _lock_newest(session)
        servers = McpServer.objects.filter(connector_id=session.connector_id)
        row = servers.filter(name=announced.name).first()
        if row is None and servers.count() >= MAX_SERVERS:
            reason = f"a machine has at most {MAX_SERVERS} servers"
            return [definitions.Problem(name=announced.name, field="name", reason=reason)]
        row = row or McpServer(connector_id=session.connector_id, name=announced.name)
        row.title, row.version = plain(announced.title), plain(announced.version)
        row.era, row.error = plain(announced.era), plain(announced.error)
        row.transport, row.state = announced.transport, announced.state
        has_changed = row.digest != checked.digest
        row.digest = checked.digest
        row.updated_at = clock.now()
        row.save()
        if has_changed:
            _replace_tools(row.id, checked.tools)
    return checked.problems


def _lock_newest(session: Opened) -> None:
    """Until the commit no newer session begins, and no other frame of this one is handled."""
    newest = Connector.objects.select_for_update(no_key=True)
    if not newest.filter(id=session.connector_id, epoch=session.epoch).exists():
        raise NewerSessionError("A newer session of this machine is there.")


def _replace_tools(server_id: UUID, tools: Sequence[definitions.Tool]) -> None:
    """Tools that have not changed keep the time of their last change."""
    of_server = McpTool.objects.filter(server_id=server_id)
    wanted = {tool.name: (position, tool) for position, tool in enumerate(tools)}
    kept: set[str] = set()
    gone: list[int] = []
    for known in of_server.only("id", "name", "position", "digest"):
        position, tool = wanted.get(known.name, (0, None))
        if tool is None or tool.digest != known.digest:
            gone.append(known.pk)
            continue
        kept.add(known.name)
        if position != known.position:
            of_server.filter(id=known.id).update(position=position)
    of_server.filter(pk__in=gone).delete()  # at once: everybody waits for the writer of SQLite
    McpTool.objects.bulk_create(
        McpTool(
            server_id=server_id,
            position=position,
            name=tool.name,
            title=tool.title,
            description=tool.description,
            input_schema=tool.input_schema,
            output_schema=tool.output_schema,
            annotations=tool.annotations,
            digest=tool.digest,
        )
        for position, tool in wanted.values()
        if tool.name not in kept
    )


def keep_only(session: Opened, names: Sequence[str]) -> None:
    """Take away the servers with other names. Raises NewerSessionError."""
    with transaction.atomic():
        _lock_newest(session)
        servers = McpServer.objects.filter(connector_id=session.connector_id)
        servers.exclude(name__in=names).delete()


def close_session(connector_id: UUID, epoch: int) -> bool:
    """Note that this session has ended. False: a newer one is there."""
    mine = Connector.objects.filter(id=connector_id, epoch=epoch)
    return bool(
        mine.update(
            closed_at=clock.now(), last_seen_at=clock.now(), transport=Connector.Transport.NONE
        )
    )


def see(ids: Iterable[UUID]) -> None:
    """Note that these connectors are there."""
    Connector.objects.filter(id__in=list(ids)).update(last_seen_at=clock.now())


def is_online(prefix: str = "") -> Q:
    """Whether a connector can be given work: the gateway itself, or a machine that is there."""
    is_gateway = Q(**{f"{prefix}kind": Connector.Kind.GATEWAY})
    is_there = Q(
        **{
            f"{prefix}closed_at__isnull": True,
            f"{prefix}last_seen_at__gt": clock.after(-ONLINE_S),
        }
    )
    return is_gateway | is_there


def plain(text: str) -> str:
    """The text without what PostgreSQL cannot hold."""
    return text.replace("\x00", "\ufffd")
