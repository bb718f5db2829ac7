"""Machines and the MCP servers they front."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization


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
    drained_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="An operator lets it end what it has, and gives no more.",
    )

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
