"""What persons were asked about calls, and what they said."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization
from mcp.models.calls import ToolCall
from mcp.models.machines import Connector
from mcp.states import Answer, Asker, Source

_PENDING = Answer.PENDING.value
_SAID = sorted([Answer.APPROVED.value, Answer.REFUSED.value])


class Approval(models.Model):
    """One question about one exact call. Only `mcp.approving` writes it.

    A trigger of the migrations keeps an answer as it was given. Who gave it stands here in words,
    for it must be readable when their account is gone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="approvals")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="approvals",
        help_text="Whose call it is",
    )
    connector = models.ForeignKey(Connector, models.CASCADE, related_name="approvals")
    call = models.ForeignKey(ToolCall, models.CASCADE, related_name="approvals")
    asked_by = models.CharField(max_length=12, choices=[(each.value, each.value) for each in Asker])
    fence = models.BigIntegerField(help_text="Of the hand-out that the machine asked under")
    digest = models.CharField(max_length=64, help_text="Of the exact call")
    reason = models.CharField(max_length=500, blank=True, help_text="Why a person is asked")
    here_only = models.BooleanField(
        default=False, help_text="Can be approved in the machine's terminal and nowhere else"
    )
    state = models.CharField(
        max_length=9, choices=[(each.value, each.value) for each in Answer], default=_PENDING
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True, help_text="user:<id> or key:<id>")
    decider = models.CharField(max_length=150, blank=True, help_text="Their name then")
    source = models.CharField(
        max_length=8, blank=True, choices=[(each.value, each.value) for each in Source]
    )
    place = models.CharField(
        max_length=100, blank=True, help_text="Address, or name of the machine"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["call"], condition=Q(state=_PENDING), name="one_open_question_per_call"
            ),
            models.CheckConstraint(
                name="an_answer_has_its_time",
                condition=Q(state=_PENDING, decided_at__isnull=True)
                | (~Q(state=_PENDING) & Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="a_decision_has_its_decider",
                condition=~Q(state__in=_SAID) | (~Q(decided_by="") & ~Q(source="")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "user", "created_at"],
                name="approvals_pending",
                condition=Q(state=_PENDING),
            ),
            models.Index(fields=["decided_at"], name="approvals_decided"),
            models.Index(fields=["organization", "-created_at"], name="approvals_of_org"),
        ]

    def __str__(self) -> str:
        return f"{self.call_id} {self.state}"
