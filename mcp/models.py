"""Machines, the MCP servers they front, and the queue of tool calls."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Organization
from mcp.states import FINAL, HELD, State

# As plain words, so that the migrations hold them and import nothing.
_STATES = sorted(state.value for state in State)
_FINAL = sorted(state.value for state in FINAL)
_HELD = sorted(state.value for state in HELD)
_BEGUN = [State.RUNNING.value, State.ORPHANED.value, State.LOST.value]


class Connector(models.Model):
    """A program on a user's machine; or, of kind `gateway`, this gateway calling for the user."""

    class Kind(models.TextChoices):
        TUNNEL = "tunnel", "A machine that dials in"
        GATEWAY = "gateway", "Servers that the gateway reaches itself"

    class Transport(models.TextChoices):
        WEBSOCKET = "websocket"
        POLLING = "polling"
        NONE = "none"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="connectors")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="connectors")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.TUNNEL)
    instance = models.UUIDField(help_text="Made by the machine at its first start, kept there.")
    name = models.CharField(max_length=100)
    agent = models.CharField(max_length=100, blank=True, help_text="Program and version")
    platform = models.CharField(max_length=100, blank=True)
    key_id = models.CharField(max_length=16, blank=True)
    epoch = models.BigIntegerField(default=0, help_text="Rises with each session; the newest rules")
    transport = models.CharField(max_length=10, choices=Transport, default=Transport.NONE)
    max_in_flight = models.PositiveSmallIntegerField(default=4)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    opened_at = models.DateTimeField(null=True, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user", "instance"], name="one_connector_per_instance"
            ),
            models.CheckConstraint(condition=Q(epoch__gte=0), name="an_epoch_from_zero"),
        ]
        indexes = [
            models.Index(fields=["organization", "user", "-last_seen_at"], name="connector_of_user")
        ]

    def __str__(self) -> str:
        return self.name


class McpServer(models.Model):
    """An MCP server that a connector fronts, as the connector last described it."""

    class State(models.TextChoices):
        READY = "ready"
        STARTING = "starting"
        FAILED = "failed"

    class Transport(models.TextChoices):
        STDIO = "stdio"
        HTTP = "http"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connector = models.ForeignKey(Connector, models.CASCADE, related_name="servers")
    name = models.CharField(max_length=64)
    title = models.CharField(max_length=200, blank=True)
    version = models.CharField(max_length=100, blank=True)
    transport = models.CharField(max_length=10, choices=Transport)
    era = models.CharField(max_length=20, blank=True, help_text="MCP revision that it speaks")
    state = models.CharField(max_length=10, choices=State)
    error = models.CharField(max_length=500, blank=True, help_text="Why it is not ready")
    url = models.CharField("URL", max_length=500, blank=True, help_text="Where the gateway asks it")
    credential_sealed = models.TextField(blank=True, editable=False)  # by accounts.sealed
    digest = models.CharField(max_length=64, blank=True, help_text="Of all its tools together")
    registered_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "MCP server"
        constraints = [
            models.UniqueConstraint(fields=["connector", "name"], name="one_server_of_a_name")
        ]

    def __str__(self) -> str:
        return self.name


class McpTool(models.Model):
    """A tool as its server defines it. `digest` changes when any of the definition does."""

    server = models.ForeignKey(McpServer, models.CASCADE, related_name="tools")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=128)
    title = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    input_schema = models.JSONField()
    output_schema = models.JSONField(null=True)
    annotations = models.JSONField(default=dict)
    digest = models.CharField(max_length=64)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "tool"
        ordering = ["server", "position"]
        constraints = [
            models.UniqueConstraint(fields=["server", "name"], name="one_tool_of_a_name")
        ]

    def __str__(self) -> str:
        return self.name


class ToolCall(models.Model):
    """One row of the queue. Only `mcp.calls` writes it, each verb by one conditional UPDATE.

    Triggers of the migrations keep what no constraint can: a final row stays as it is, a fence
    never falls, and a call is of its connector's organization.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="tool_calls")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="tool_calls")
    connector = models.ForeignKey(Connector, models.CASCADE, related_name="calls")
    server = models.CharField(max_length=64)
    tool = models.CharField(max_length=128)
    method = models.CharField(max_length=50, default="tools/call")
    params = models.TextField(help_text="MCP's params, as JSON")
    has_effects = models.BooleanField(help_text="Never run twice")
    request_id = models.CharField(max_length=64, help_text="Whose request asked for it")
    tool_use_id = models.CharField(max_length=64)
    waiter = models.UUIDField(null=True, help_text="The process whose request waits for it")

    state = models.CharField(max_length=10, choices=[(word, word) for word in _STATES])
    fence = models.BigIntegerField(default=0)
    deliveries = models.PositiveIntegerField(default=0)
    starts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    deadline = models.DateTimeField()
    cancel_requested = models.BooleanField(default=False)
    progress = models.JSONField(null=True, help_text="The last that was heard")
    outcome = models.CharField(max_length=12, blank=True)
    result = models.TextField(null=True, help_text="MCP's result or error, as JSON")  # noqa: DJ001
    digest = models.CharField(max_length=64, blank=True, help_text="Of the result")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "tool call"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user", "request_id", "tool_use_id"],
                name="one_call_per_use",
            ),
            models.CheckConstraint(condition=Q(state__in=_STATES), name="a_known_state_of_a_call"),
            models.CheckConstraint(
                name="a_final_call_has_an_end",
                condition=Q(state__in=_FINAL, finished_at__isnull=False)
                | (~Q(state__in=_FINAL) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="a_held_call_has_a_lease",
                condition=Q(state__in=_HELD, lease_until__isnull=False)
                | (~Q(state__in=_HELD) & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(
                name="an_answered_call_has_a_result",
                condition=~Q(state__in=[State.SUCCEEDED.value, State.FAILED.value])
                | Q(result__isnull=False),
            ),
            models.CheckConstraint(
                name="effects_start_once", condition=Q(has_effects=False) | Q(starts__lte=1)
            ),
            models.CheckConstraint(
                name="started_before_it_ran",
                condition=~Q(state__in=_BEGUN) | Q(starts__gte=1),
            ),
            models.CheckConstraint(
                name="starts_within_deliveries", condition=Q(starts__lte=F("deliveries"))
            ),
        ]
        indexes = [
            models.Index(
                fields=["connector", "created_at", "id"],
                name="calls_queued",
                condition=Q(state=State.QUEUED.value),
            ),
            models.Index(
                fields=["connector"],
                name="calls_open_of_connector",
                condition=Q(finished_at__isnull=True),
            ),
            models.Index(
                fields=["organization"],
                name="calls_open_of_org",
                condition=Q(finished_at__isnull=True),
            ),
            models.Index(
                fields=["lease_until"], name="calls_leased", condition=Q(lease_until__isnull=False)
            ),
            models.Index(
                fields=["deadline"], name="calls_due", condition=Q(finished_at__isnull=True)
            ),
            models.Index(fields=["organization", "-created_at"], name="calls_of_org"),
            models.Index(fields=["finished_at"], name="calls_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.server}/{self.tool} {self.state}"


class ToolCallEvent(models.Model):
    """What happened to a call, written by a trigger with each change of its state."""

    call = models.ForeignKey(ToolCall, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    state = models.CharField(max_length=10)
    fence = models.BigIntegerField()

    class Meta:
        verbose_name = "event of a tool call"
        ordering = ["id"]

    def __str__(self) -> str:
        return self.state
