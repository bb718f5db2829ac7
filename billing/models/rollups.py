"""Sums of the ledger, kept by the writer in the transaction that closes a row."""

from django.db import models

from accounts.models import Organization


class Sums(models.Model):
    """What is added up."""

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
        abstract = True


class UsageRollup(Sums):
    """What was used in one hour, day or month by one combination of what usage is grouped by.

    The dimensions that a kind does not have are empty, the id of a user or organization is 0 then.
    The rows of each kind sum to the ledger's. Those of tags and sessions do not: a request with two
    tags is in two of these, one without a tag or a session in none.
    """

    class Kind(models.TextChoices):
        HOUR = "hour"  # user, key, model, agent
        DAY = "day"  # user, key, model, agent
        MONTH = "month"  # user, key, model, agent
        ORGANIZATION_DAY = "orgday"  # none of these
        ORGANIZATION_HOUR = "orghour"  # none of these
        SESSION = "session"  # a day's: user, session as the label
        TAG = "tag"  # a day's: user, tag as the label
        TAG_MONTH = "tagmon"  # a month's: user, tag as the label
        # An hour's: not even the organization. All writers meet at this row, and they write in the
        # order of the kinds' names: the last is locked the shortest.
        TOTAL = "total"

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


class UsageSession(Sums):
    """What was used in one month by one session of one user, and which of them cost most.

    A table of its own: PostgreSQL writes every index of a table anew when a row's cost changes and
    one of them has the cost in it.
    """

    starts_at = models.DateTimeField(help_text="UTC; the first of the month.")
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    user_id = models.BigIntegerField()
    session = models.CharField(max_length=100)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "starts_at", "user_id", "session"],
                name="one_usage_session_each",
            )
        ]
        # The order of the answers, to the last column: else sessions that all cost nothing would
        # have to be sorted.
        indexes = [
            models.Index(
                fields=["organization", "starts_at", "-cost_nano", "-requests", "id"],
                name="dearest_session_of_one",
            ),
            models.Index(
                fields=["starts_at", "-cost_nano", "-requests", "id"], name="dearest_session_of_all"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.starts_at:%Y-%m} {self.session}"
