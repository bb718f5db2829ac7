"""What is there: a user's servers, and the tunnel's state in numbers."""

from django.db.models import Count, Prefetch, Q
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.described import described
from mcp.models import Connector, McpServer, McpTool, ToolCall
from mcp.serializers import Asked
from mcp.shown import ONLINE, ShownServer, ShownServers, Standing
from mcp.states import State
from mcp.views.pages import TAG, TunnelPage

SERVERS_LISTED = 200  # more than anybody runs; the answer says when there are more
DEFINED_AT_ONCE = 16  # one server's definitions are 2 MiB at most


class Servers(TunnelPage):
    """List a user's servers, those that were active last first."""

    @described(
        "mcp_servers",
        tag=TAG,
        summary="List the MCP servers on a user's machines",
        query=Asked,
        gives=ShownServers,
        refuses=(404,),
    )
    def get(self, request: Request, user_id: str) -> Response:
        wanted = Asked(data=request.query_params.dict())
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        is_full = asked["tools"] == "full"
        rows = McpServer.objects.filter(
            self._of_connectors(self.user_in(user_id)),
            Q(name=asked["server"]) if asked["server"] else Q(),
        )
        tools = McpTool.objects.order_by("server", "position")
        if not is_full:
            tools = tools.only("server", "position", "name")
        rows = rows.select_related("connector").prefetch_related(Prefetch("tools", tools))
        rows = rows.order_by("-connector__last_seen_at", "connector", "name")
        most = DEFINED_AT_ONCE if is_full else SERVERS_LISTED
        found = list(rows[: most + 1])
        if is_full and len(found) > most:
            text = f"More than {most} servers have too many tools to define: name one (server=)."
            raise ValidationError({"tools": [text]})
        shown = ShownServer(
            found[:most], many=True, context={"now": timezone.now(), "tools": asked["tools"]}
        ).data
        return Response({"servers": shown, "count": len(shown), "has_more": len(found) > most})

    def _of_connectors(self, user_id: int) -> Q:
        mine = Q(connector__user=user_id)
        if self.is_operator():
            return mine
        return mine & Q(connector__organization__in=self.memberships().values("organization"))


class Status(TunnelPage):
    """Count what of the tunnel the caller sees: their organization's, operators everybody's."""

    @described("mcp_status", tag=TAG, summary="The tunnel in numbers", gives=Standing)
    def get(self, request: Request) -> Response:
        seen = self.of_organizations()
        here = Q(closed_at__isnull=True, last_seen_at__gte=timezone.now() - ONLINE)
        connectors = Connector.objects.filter(seen, kind=Connector.Kind.TUNNEL).aggregate(
            all=Count("id"),
            websocket=Count("id", filter=here & Q(transport=Connector.Transport.WEBSOCKET)),
            polling=Count("id", filter=here & Q(transport=Connector.Transport.POLLING)),
        )
        states = ToolCall.objects.filter(seen, finished_at__isnull=True).values_list("state")
        calls = dict(states.order_by("state").annotate(Count("id")))
        servers = McpServer.objects.filter(
            connector__in=Connector.objects.filter(seen).values("id")
        ).count()
        waiting = [State.QUEUED, State.APPROVAL, State.LEASED]
        return Response(
            {
                "websocket_connections": connectors["websocket"],
                "polling_queues": connectors["polling"],
                "pending_calls": sum(calls.get(state, 0) for state in waiting),
                "pending_results": sum(
                    calls.get(state, 0) for state in (State.RUNNING, State.ORPHANED)
                ),
                "registered_servers": servers,
                "connectors": connectors["all"],
                "calls": {
                    state.value: calls.get(state, 0)
                    for state in (*waiting, State.RUNNING, State.ORPHANED)
                },
            }
        )
