"""The queue of tool calls, and what happened to each."""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.models import Organization
from mcp.models.machines import Connector
from mcp.states import FINAL, HELD, Asker, Decision, State

# As plain words, so that the migrations hold them and import nothing.
_STATES = sorted(state.value for state in State)
_FINAL = sorted(state.value for state in FINAL)
_HELD = sorted(state.value for state in HELD)
_BEGUN = [State.RUNNING.value, State.ORPHANED.value, State.LOST.value]


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
    definition = models.CharField(
        max_length=64, blank=True, help_text="Digest of the tool's definition when it was asked for"
    )
    decision = models.CharField(
        max_length=5,
        blank=True,
        choices=[(each.value, each.value) for each in Decision],
        help_text="What the organization's policy said to it",
    )
    policy_version = models.PositiveIntegerField(default=0, help_text="Of the policy that said so")
    request_id = models.CharField(max_length=64, help_text="Whose request asked for it")
    tool_use_id = models.CharField(max_length=64)
    step = models.UUIDField(null=True, help_text="The row of the ledger whose answer called it")
    waiter = models.UUIDField(null=True, help_text="The process whose request waits for it")

    state = models.CharField(max_length=10, choices=[(word, word) for word in _STATES])
    fence = models.BigIntegerField(default=0)
    deliveries = models.PositiveIntegerField(default=0)
    starts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    deadline = models.DateTimeField(help_text="While it waits for a person: of the approval")
    lasts = models.DurationField(
        default=timedelta(seconds=30), help_text="From the queue to its deadline"
    )
    asked_by = models.CharField(
        max_length=12,
        blank=True,
        choices=[(each.value, each.value) for each in Asker],
        help_text="Who wanted a person's approval, at last",
    )
    approval = models.CharField(
        max_length=64, blank=True, help_text="Digest that a person approved, until it begins"
    )
    cancel_requested = models.BooleanField(default=False)
    progress = models.JSONField(null=True, help_text="The last that was heard")
    outcome = models.CharField(max_length=12, blank=True)
    result = models.TextField(null=True, help_text="MCP's result or error, as JSON")  # noqa: DJ001
    digest = models.CharField(max_length=64, blank=True, help_text="Of the result")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    audited = models.BooleanField(default=False, help_text="Has its row in the audit")

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
            models.CheckConstraint(
                name="somebody_asked_for_the_approval",
                condition=~Q(state=State.APPROVAL.value) | ~Q(asked_by=""),
            ),
            models.CheckConstraint(
                name="an_approval_is_spent_at_the_beginning",
                condition=~Q(state__in=[State.RUNNING.value, State.APPROVAL.value])
                | Q(approval=""),
            ),
            models.CheckConstraint(
                name="audited_when_it_has_ended",
                condition=Q(audited=False) | Q(finished_at__isnull=False),
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
            models.Index(
                fields=["organization", "finished_at"],
                name="calls_unaudited",
                condition=Q(finished_at__isnull=False, audited=False),
            ),
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
