"""The ledger: one row for each request that was sent on."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.models import ApiKey, Organization
from billing.models.prices import Price


class UsageRecord(models.Model):
    """What one request used: opened before the upstream is asked, closed once, never edited."""

    class State(models.TextChoices):
        ADMITTED = "admitted"  # the upstream is being asked
        COMPLETED = "completed"
        FAILED = "failed"  # the upstream refused, died or said something that is no answer
        INTERRUPTED = "interrupted"  # the client left before the end
        CORRECTION = "correction"  # what is to be added to a row that was closed before

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
    # A step of an orchestrated request points at it; neither repeats the other's tokens.
    parent = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="steps",
    )
    corrects = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="corrections",
    )
    worker_id = models.UUIDField(null=True, help_text="The process that has it under way.")
    agent = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="The agent of this gateway that answered.",
    )
    tags = models.JSONField(null=True, help_text="From x-opscenter-tags, else the key's own.")
    session_id = models.CharField(max_length=100, blank=True)
    agent_id = models.CharField(max_length=100, blank=True)
    parent_agent_id = models.CharField(max_length=100, blank=True)

    kept_headers = models.JSONField(
        null=True, help_text="What the client said of itself: its name and its version of the API."
    )
    request_bytes = models.PositiveBigIntegerField(null=True)
    answer_bytes = models.PositiveBigIntegerField(
        null=True, help_text="Without the headers, as far as it was relayed."
    )

    requested_model = models.CharField(max_length=256)
    target_model = models.CharField(
        max_length=256, help_text="The name the upstream was asked for."
    )
    served_model = models.CharField(
        max_length=256, blank=True, help_text="The name it answered with."
    )
    upstream = models.CharField(max_length=50, help_text="Which one answered.")
    route = models.CharField(
        max_length=256,
        blank=True,
        default="",
        db_default="",
        help_text="The pattern that led there.",
    )
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
    longest_silence_ms = models.PositiveIntegerField(
        null=True, help_text="Of the upstream, within its stream: between two of its chunks."
    )
    duration_ms = models.PositiveIntegerField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status of the answer.")
    stop_reason = models.CharField(max_length=100, blank=True)
    error_type = models.CharField(max_length=100, blank=True)
    message_id = models.CharField(max_length=100, blank=True)
    upstream_request_id = models.CharField(max_length=100, blank=True)

    # Negative in corrections only.
    input_tokens = models.IntegerField(default=0)
    output_tokens = models.IntegerField(default=0)
    cache_read_tokens = models.IntegerField(default=0)
    cache_write_5m_tokens = models.IntegerField(default=0)
    cache_write_1h_tokens = models.IntegerField(default=0)
    server_tool_uses = models.IntegerField(default=0)
    tool_calls = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Tools that the answer calls."
    )
    usage = models.JSONField(null=True, help_text="The usage object as the upstream reported it.")
    estimated = models.BooleanField(
        default=False, db_default=False, help_text="Some of its tokens were counted by us."
    )
    flags = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="What was odd, for example: left, swept, clamped.",
    )
    unpriced = models.BooleanField(
        default=False, db_default=False, help_text="No price knew the model: the default was used."
    )

    price = models.ForeignKey(
        Price,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        help_text="The version of the price that was used.",
    )
    cost_nano = models.BigIntegerField(default=0, db_default=0, help_text="In nano-dollars.")
    metered = models.BooleanField(
        default=False, db_default=False, help_text="An event for Lago was queued with it."
    )

    # What a sweeper needs to settle it after its process has died.
    expected_input_tokens = models.PositiveIntegerField(default=0, db_default=0)
    holds = models.JSONField(null=True, help_text="The allowances that it holds something of.")
    held_tokens = models.BigIntegerField(default=0, db_default=0)
    held_cost_nano = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        indexes = [
            models.Index(F("organization"), F("admitted_at").desc(), name="usage_by_organization"),
            models.Index(F("admitted_at").desc(), name="usage_by_time"),
            models.Index(fields=["admitted_at"], condition=Q(state="admitted"), name="usage_open"),
            models.Index(fields=["admitted_at"], condition=~Q(moved_from=""), name="usage_moved"),
            models.Index(fields=["admitted_at"], condition=Q(unpriced=True), name="usage_unpriced"),
            models.Index(
                fields=["corrects"], condition=Q(corrects__isnull=False), name="usage_corrections"
            ),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="usage_steps"),
        ]
        constraints = [
            models.CheckConstraint(
                name="closed_exactly_when_final",
                condition=Q(state="admitted", closed_at__isnull=True)
                | Q(
                    state__in=["completed", "failed", "interrupted", "correction"],
                    closed_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="only_corrections_correct",
                condition=Q(state="correction", corrects__isnull=False)
                | (~Q(state="correction") & Q(corrects__isnull=True)),
            ),
            models.CheckConstraint(
                name="only_corrections_are_negative",
                condition=Q(state="correction")
                | Q(
                    input_tokens__gte=0,
                    output_tokens__gte=0,
                    cache_read_tokens__gte=0,
                    cache_write_5m_tokens__gte=0,
                    cache_write_1h_tokens__gte=0,
                    server_tool_uses__gte=0,
                    cost_nano__gte=0,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"req_{self.id.hex}"
