"""The ledger: one row for each request that was sent on."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.models import ApiKey, Organization


class UsageRecord(models.Model):
    """What one request used: opened before the upstream is asked, closed once, never edited."""

    class State(models.TextChoices):
        ADMITTED = "admitted"  # the upstream is being asked
        COMPLETED = "completed"
        FAILED = "failed"  # the upstream refused, died or said something that is no answer
        INTERRUPTED = "interrupted"  # the client left before the end

    id = models.UUIDField(
        primary_key=True, help_text="The request id without its prefix; ordered by time."
    )
    state = models.CharField(max_length=12, choices=State, default=State.ADMITTED)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="usage_records")
    # People and keys may go; what they used stays. Hence no constraint on these two.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    api_key = models.ForeignKey(ApiKey, models.DO_NOTHING, db_constraint=False, related_name="+")
    session_id = models.CharField(max_length=100, blank=True)
    agent_id = models.CharField(max_length=100, blank=True)
    parent_agent_id = models.CharField(max_length=100, blank=True)

    requested_model = models.CharField(max_length=256)
    target_model = models.CharField(
        max_length=256, help_text="The name the upstream was asked for."
    )
    served_model = models.CharField(
        max_length=256, blank=True, help_text="The name it answered with."
    )
    upstream = models.CharField(max_length=50, help_text="Which one answered.")
    moved_from = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="The upstream that would have answered, but failed.",
    )
    attempts = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="How many times an upstream was asked."
    )
    own_credential = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Asked with the organization's own credential: billed as its own.",
    )
    streamed = models.BooleanField()

    admitted_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    first_byte_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status of the answer.")
    stop_reason = models.CharField(max_length=100, blank=True)
    error_type = models.CharField(max_length=100, blank=True)
    message_id = models.CharField(max_length=100, blank=True)
    upstream_request_id = models.CharField(max_length=100, blank=True)

    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0)
    cache_write_5m_tokens = models.PositiveIntegerField(default=0)
    cache_write_1h_tokens = models.PositiveIntegerField(default=0)
    server_tool_uses = models.PositiveIntegerField(default=0)
    usage = models.JSONField(null=True, help_text="The usage object as the upstream reported it.")

    class Meta:
        indexes = [
            models.Index(F("organization"), F("admitted_at").desc(), name="usage_by_organization"),
            models.Index(F("admitted_at").desc(), name="usage_by_time"),
            models.Index(fields=["admitted_at"], condition=Q(state="admitted"), name="usage_open"),
            models.Index(fields=["admitted_at"], condition=~Q(moved_from=""), name="usage_moved"),
        ]
        constraints = [
            models.CheckConstraint(
                name="closed_exactly_when_final",
                condition=Q(state="admitted", closed_at__isnull=True)
                | Q(state__in=["completed", "failed", "interrupted"], closed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"req_{self.id.hex}"
