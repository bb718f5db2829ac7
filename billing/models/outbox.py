"""What is still to be told to Lago, and what Lago has told us."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from billing.models.ledger import UsageRecord


class OutboxEvent(models.Model):
    """A closed row that Lago has not acknowledged yet. Acknowledged, it is deleted."""

    class State(models.TextChoices):
        PENDING = "pending"
        PARKED = "parked"  # Lago refuses it; an operator retries it once the reason is gone

    # Written in the transaction that closes the record; the record is never deleted before it.
    record = models.OneToOneField(
        UsageRecord, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="event"
    )
    state = models.CharField(
        max_length=10, choices=State, default=State.PENDING, db_default=State.PENDING
    )
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    leased_until = models.DateTimeField(
        null=True, help_text="Until then one exporter has it in its hands."
    )
    reason = models.TextField(
        blank=True, default="", db_default="", help_text="Why Lago refused it."
    )
    queued_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["record"], condition=Q(state="pending"), name="outbox_pending"),
        ]

    def __str__(self) -> str:
        return f"{self.record_id.hex} ({self.state})"


class WebhookDelivery(models.Model):
    """A webhook of Lago's that was taken. Lago sends one up to three times."""

    unique_key = models.CharField(max_length=200, unique=True, help_text="X-Lago-Unique-Key")
    webhook_type = models.CharField(max_length=100)
    outcome = models.CharField(max_length=300, help_text="What it changed here.")
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "webhook deliveries"

    def __str__(self) -> str:
        return f"{self.webhook_type} {self.unique_key}"
