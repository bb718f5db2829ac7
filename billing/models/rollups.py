"""Sums of the ledger, kept by the writer in the transaction that closes a row."""

from django.db import models

from accounts.models import Organization


class UsageRollup(models.Model):
    """What was used in one hour, day or month by one combination of what usage is grouped by.

    The dimensions that a kind does not have are empty. Rows of hours, days and months sum to the
    ledger's. Those of tags and sessions do not: a request with two tags is in two of these, one
    without a tag or a session in none.
    """

    class Kind(models.TextChoices):
        HOUR = "hour"  # user, key, model, agent
        DAY = "day"  # user, key, model, agent
        MONTH = "month"  # user, key, model, agent
        SESSION = "session"  # a day's: user, session as the label
        TAG = "tag"  # a day's: user, tag as the label
        TAG_MONTH = "tagmon"  # a month's: user, tag as the label

    kind = models.CharField(max_length=7, choices=Kind)
    starts_at = models.DateTimeField(help_text="UTC; by when the request was admitted.")
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    user_id = models.BigIntegerField()
    api_key_id = models.CharField(max_length=16, default="", db_default="")
    model = models.CharField(max_length=256, default="", db_default="")
    agent = models.CharField(max_length=50, default="", db_default="")
    label = models.CharField(max_length=100, default="", db_default="")

    requests = models.BigIntegerField(default=0, db_default=0)
    failed = models.BigIntegerField(default=0, db_default=0)
    estimated = models.BigIntegerField(default=0, db_default=0)
    input_tokens = models.BigIntegerField(default=0, db_default=0)
    output_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_read_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_write_5m_tokens = models.BigIntegerField(default=0, db_default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0, db_default=0)
    server_tool_uses = models.BigIntegerField(default=0, db_default=0)
    tool_calls = models.BigIntegerField(default=0, db_default=0)
    cost_nano = models.BigIntegerField(default=0, db_default=0)
    duration_ms = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            # Its order is that of the questions: one kind, one organization, a range of time.
            models.UniqueConstraint(
                fields=[
                    "kind",
                    "organization",
                    "starts_at",
                    "user_id",
                    "api_key_id",
                    "model",
                    "agent",
                    "label",
                ],
                name="one_rollup_each",
            )
        ]
        indexes = [models.Index(fields=["kind", "starts_at"], name="rollup_by_time")]

    def __str__(self) -> str:
        return f"{self.kind} {self.starts_at:%Y-%m-%d %H:%M} {self.model or self.label}"
