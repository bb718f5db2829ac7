"""What the tunnel's pages give."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.described import shape
from mcp import registry
from mcp.models import Approval, Connector, McpServer, McpTool, ToolCall
from mcp.states import Answer, State

ONLINE = timedelta(seconds=registry.ONLINE_S)


class ShownConnector(serializers.ModelSerializer[Connector]):
    """A machine, as its owner sees it. `now` comes in the context."""

    online = serializers.SerializerMethodField()

    class Meta:
        model = Connector
        fields = ["id", "name", "agent", "platform", "transport", "online", "last_seen_at"]
        read_only_fields = fields

    def get_online(self, connector: Connector) -> bool:
        return is_online(connector, now=self.context["now"])


class ShownTool(serializers.ModelSerializer[McpTool]):
    """A tool as its server defined it."""

    inputSchema = serializers.JSONField(source="input_schema")  # noqa: N815  (MCP's name for it)
    outputSchema = serializers.JSONField(source="output_schema")  # noqa: N815  (MCP's name for it)

    class Meta:
        model = McpTool
        fields = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"]
        read_only_fields = fields


class ShownServer(serializers.ModelSerializer[McpServer]):
    """A server and what it offers. `now` and `tools` (names or full) come in the context."""

    server_id = serializers.CharField(source="name")
    tools = serializers.SerializerMethodField()
    method = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    connector = ShownConnector()

    class Meta:
        model = McpServer
        fields = [
            "server_id",
            "name",
            "title",
            "version",
            "era",
            "url",
            "method",
            "status",
            "error",
            "tools",
            "registered_at",
            "updated_at",
            "connector",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.JSONField()))
    def get_tools(self, server: McpServer) -> list[Any]:
        tools = server.tools.all()  # prefetched
        if self.context["tools"] == "full":
            return list(ShownTool(tools, many=True).data)
        return [tool.name for tool in tools]

    def get_method(self, server: McpServer) -> str:
        connector = server.connector
        return "http" if connector.kind == Connector.Kind.GATEWAY else connector.transport

    def get_status(self, server: McpServer) -> str:
        """As the earlier Ops-Center said it where all is well: active."""
        if not is_online(server.connector, now=self.context["now"]):
            return "offline"
        return "active" if server.state == McpServer.State.READY else server.state


class ShownCall(serializers.ModelSerializer[ToolCall]):
    """A call without its arguments and without its result."""

    call_id = serializers.UUIDField(source="id")
    connector = serializers.UUIDField(source="connector_id")
    is_error = serializers.SerializerMethodField()

    class Meta:
        model = ToolCall
        fields = [
            "call_id",
            "server",
            "tool",
            "connector",
            "request_id",
            "tool_use_id",
            "state",
            "outcome",
            "is_error",
            "cancel_requested",
            "progress",
            "has_effects",
            "created_at",
            "started_at",
            "finished_at",
            "deadline",
        ]
        read_only_fields = fields

    def get_is_error(self, call: ToolCall) -> bool | None:
        """None while it is open."""
        return None if call.finished_at is None else call.state != State.SUCCEEDED


class ShownServers(serializers.Serializer[Any]):
    """A list of servers."""

    servers = ShownServer(many=True)
    count = serializers.IntegerField()
    has_more = serializers.BooleanField()


class Standing(serializers.Serializer[Any]):
    """The tunnel in numbers."""

    websocket_connections = serializers.IntegerField(help_text="Machines there by WebSocket.")
    polling_queues = serializers.IntegerField(help_text="Machines there by polling.")
    pending_calls = serializers.IntegerField(help_text="Not begun.")
    pending_results = serializers.IntegerField(help_text="Begun, and not ended.")
    registered_servers = serializers.IntegerField()
    connectors = serializers.IntegerField(help_text="Machines that were ever there.")
    calls = serializers.DictField(child=serializers.IntegerField(), help_text="Open, by state.")


class ShownCalls(serializers.Serializer[Any]):
    """A list of calls."""

    results = ShownCall(many=True)
    limit = serializers.IntegerField()
    has_more = serializers.BooleanField()


class EndedCall(ShownCall):
    """A call with what came of it. Written by `mcp.views.tool_calls.whole`."""

    result = serializers.DictField(allow_null=True, help_text="MCP's result, as it came.")
    error = serializers.DictField(allow_null=True, help_text="A JSON-RPC error, as it came.")

    class Meta(ShownCall.Meta):
        fields = [*ShownCall.Meta.fields, "result", "error"]
        read_only_fields = fields


class Cancellation(serializers.Serializer[Any]):
    """What became of the wish."""

    call_id = serializers.UUIDField()
    state = serializers.ChoiceField([state.value for state in State])
    cancel_requested = serializers.BooleanField(help_text="False: it had ended already.")


class ShownApproval(serializers.ModelSerializer[Approval]):
    """A question about a call. `mcp.views.approvals` adds the arguments, as they came."""

    call_id = serializers.UUIDField()
    server = serializers.CharField(source="call.server")
    tool = serializers.CharField(source="call.tool")
    arguments = serializers.SerializerMethodField(help_text="All of them, as they will be sent.")
    machine = serializers.CharField(source="connector.name")
    connector = serializers.UUIDField(source="connector_id")
    user = serializers.CharField(source="user.username", help_text="Whose call it is.")

    class Meta:
        model = Approval
        fields = [
            "id",
            "call_id",
            "state",
            "digest",
            "server",
            "tool",
            "arguments",
            "reason",
            "asked_by",
            "here_only",
            "machine",
            "connector",
            "user",
            "organization",
            "created_at",
            "expires_at",
            "decided_at",
            "decider",
            "source",
            "place",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.DictField())
    def get_arguments(self, approval: Approval) -> None:
        """They are no value of ours: the page puts in the text of the params."""


class ShownApprovals(serializers.Serializer[Any]):
    """What waits, the oldest first."""

    results = ShownApproval(many=True)
    has_more = serializers.BooleanField(help_text="They are shown when these are decided.")


class ShownDecision(serializers.Serializer[Any]):
    """What became of the question."""

    id = serializers.UUIDField()
    call_id = serializers.UUIDField()
    state = serializers.ChoiceField([Answer.APPROVED.value, Answer.REFUSED.value])


def is_online(connector: Connector, *, now: datetime) -> bool:
    """Whether calls reach it now. What the gateway calls itself is always there."""
    if connector.kind == Connector.Kind.GATEWAY:
        return True
    seen = connector.last_seen_at
    return connector.closed_at is None and seen is not None and now - seen <= ONLINE


EXECUTED = {
    200: shape(
        "Executed",
        call_id=serializers.UUIDField(),
        state=serializers.ChoiceField([state.value for state in State]),
        is_error=serializers.BooleanField(),
        result=serializers.DictField(help_text="MCP's CallToolResult, also where a call failed."),
    ),
    202: shape("Submitted", call_id=serializers.UUIDField()),
}
REGISTERED = shape(
    "Registered",
    success=serializers.BooleanField(),
    server_id=serializers.CharField(),
    method=serializers.ChoiceField(["websocket", "polling", "http"]),
    connector=serializers.UUIDField(),
    url=serializers.CharField(),
    era=serializers.CharField(),
    tools=serializers.ListField(child=serializers.CharField()),
    refused=serializers.ListField(
        child=shape(
            "RefusedDefinition",
            name=serializers.CharField(),
            field=serializers.CharField(),
            reason=serializers.CharField(),
        ),
        help_text="Definitions that are not taken. The server is registered without them.",
    ),
)


class CarriedFrames(serializers.Serializer[Any]):
    """Frames of a machine's session, as docs/tunnel.md describes them. `carried` reads them."""

    instance = serializers.UUIDField()
    epoch = serializers.IntegerField(required=False, help_text="Left out to begin with a hello.")
    frames = serializers.ListField(child=serializers.DictField(), max_length=64, required=False)


class Polling(CarriedFrames):
    """The same, and how long to wait."""

    wait_ms = serializers.IntegerField(min_value=0, max_value=30_000, default=0)


class PolledFrames(serializers.Serializer[Any]):
    """Answers to frames, calls and cancellations."""

    epoch = serializers.IntegerField()
    frames = serializers.ListField(child=serializers.DictField())
