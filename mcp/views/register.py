"""Register MCP servers, as programs of the earlier Ops-Center do; and take them away."""

from typing import Any

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import F, Q, QuerySet
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit, rates
from accounts.described import described
from accounts.principal import Principal
from accounts.reads import DatabaseAwayError
from accounts.rest import bound
from mcp import direct, registry
from mcp.frames import Announced
from mcp.models import Connector, McpServer
from mcp.serializers import Registration, Removal
from mcp.shown import REGISTERED
from mcp.views.pages import TAG, ConflictError, TunnelPage

REGISTERED_ACTION, REMOVED_ACTION = "mcpserver.registered", "mcpserver.removed"
# What `mcp.direct` calls what is wrong, and what the body calls it.
FIELDS = {"name": "server_id", "url": "url", "credential": "authorization"}
NO_MACHINE = (
    "No machine of yours has ever connected{which}. Start a connector there, by WebSocket or by"
    " polling, and register again; or register a server at a URL with method http."
)


class AwayError(APIException):
    """The database is away."""

    status_code = 503
    default_code = "away"
    wait = 5


class RegisterPage(TunnelPage):
    """What both pages share."""

    def note(self, action: str, server: McpServer) -> None:
        """A line in the trail."""
        connector = Connector.objects.select_related("organization").get(pk=server.connector_id)
        told = {"name": server.name, "url": server.url}
        subject = f"mcpserver:{server.pk}"
        audit.record(action, subject, self.actor(), connector.organization, told)


class Servers(RegisterPage):
    """Register a server."""

    @described(
        "mcp_register",
        tag=TAG,
        summary="Register an MCP server",
        body=Registration,
        gives=REGISTERED,
        refuses=(409,),
    )
    def post(self, request: Request) -> Response:
        body = Registration(data=request.data)
        body.is_valid(raise_exception=True)
        wanted = body.validated_data
        self._require_self(wanted["user_id"])
        caller = self.acting(wanted["organization"])
        bound(rates.CONNECTOR_REGISTRATIONS, caller.user_id, "A user can register servers")
        return Response(self._registered(caller, wanted))

    def _require_self(self, user_id: Any) -> None:
        """The earlier programs name their user; the credential says who it is."""
        if user_id not in (None, "me") and str(user_id) != str(self.user().pk):
            text = f"Your credential is user {self.user().pk}'s. Leave it out, or say `me`."
            raise PermissionDenied({"user_id": [text]})

    def _registered(self, caller: Principal, wanted: dict[str, Any]) -> dict[str, Any]:
        name, method = wanted["server_id"], wanted["method"]
        told: dict[str, Any] = {"success": True, "server_id": name, "method": method}
        if method == "http":
            server = _reach(caller, wanted)
            self.note(REGISTERED_ACTION, server)
            return told | {
                "connector": str(server.connector_id),
                "url": server.url,
                "era": server.era,
                "tools": list(server.tools.values_list("name", flat=True)),
                "refused": [],
            }
        connector = _machine(caller, wanted["instance"])
        refused = _declare(connector, name, wanted["tools"])
        tools = McpServer.objects.get(connector=connector, name=name).tools
        return told | {
            "connector": str(connector.pk),
            "url": "",
            "era": "",
            "tools": list(tools.values_list("name", flat=True)),
            "refused": refused,
        }


class Server(RegisterPage):
    """Take a server away."""

    @described(
        "mcp_unregister",
        tag=TAG,
        summary="Take a registered MCP server away",
        query=Removal,
        status=204,
        refuses=(404, 409),
    )
    def delete(self, request: Request, server_id: str) -> Response:
        wanted = Removal(data=request.query_params.dict())
        wanted.is_valid(raise_exception=True)
        server = self._one(server_id, wanted.validated_data["connector"])
        with transaction.atomic():
            self.note(REMOVED_ACTION, server)
            server.delete()
        return Response(status=204)

    def _one(self, name: str, connector: Any) -> McpServer:
        """The caller's server of this name; of several nobody guesses."""
        mine: QuerySet[McpServer] = McpServer.objects.filter(
            connector__user=self.user(),
            connector__organization__in=self.memberships().values("organization"),
            name=name,
        )
        if connector is not None:
            mine = mine.filter(connector=connector)
        found = list(mine.select_related("connector").order_by("-updated_at")[: registry.MAX_KNOWN])
        if not found:
            raise NotFound("No machine of yours has a server of this name.")
        if len(found) > 1:
            where = ", ".join(f"{one.connector_id} ({one.connector.name})" for one in found)
            raise ConflictError(f"Several have one; say which (connector=): {where}.")
        return found[0]


def _reach(caller: Principal, wanted: dict[str, Any]) -> McpServer:
    """A server that the gateway asks itself."""
    register = async_to_sync(direct.register)
    try:
        return register(caller, wanted["server_id"], wanted["url"], wanted["authorization"])
    except direct.NotRegisteredError as error:
        raise ValidationError({FIELDS.get(error.field, "detail"): [str(error)]}) from error
    except DatabaseAwayError as error:
        raise AwayError(str(error)) from error


def _machine(caller: Principal, instance: Any) -> Connector:
    """The machine that was named, or that of the caller's whose session is the youngest."""
    mine = Connector.objects.filter(
        Q(instance=instance) if instance else Q(),
        organization_id=caller.organization_id,
        user_id=caller.user_id,
        kind=Connector.Kind.TUNNEL,
    )
    found = mine.order_by(F("opened_at").desc(nulls_last=True), "id").first()
    if found is None:
        raise ConflictError(NO_MACHINE.format(which=f" as {instance}" if instance else ""))
    return found


def _declare(connector: Connector, name: str, tools: list[Any]) -> list[dict[str, str]]:
    """What the machine itself would say; it has the last word with its next `ready`."""
    announced = Announced(name=name, transport="stdio", state="ready", tools=tools)
    opened = registry.Opened(
        connector_id=connector.pk, epoch=connector.epoch, max_in_flight=connector.max_in_flight
    )
    try:
        problems = registry.announce(opened, announced)
    except registry.NewerSessionError as error:
        raise ConflictError("The machine has just come back. Register again.") from error
    if not McpServer.objects.filter(connector=connector, name=name).exists():
        raise ConflictError(f"It is not taken: {problems[0].reason}.")
    return [{"name": one.name, "field": one.field, "reason": one.reason} for one in problems]
