"""What an organization allows its tools, version by version."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization
from mcp.states import Decision

_DECISIONS = [(each.value, each.value) for each in Decision]


class OrganizationPolicy(models.Model):
    """The policy that is edited. What counts is the newest of its versions."""

    organization = models.OneToOneField(Organization, models.CASCADE, related_name="tool_policy")
    otherwise = models.CharField(
        max_length=5,
        choices=_DECISIONS,
        default=Decision.ALLOW.value,
        help_text="For what no rule fits. The machines' own policies are asked in any case.",
    )

    class Meta:
        verbose_name = "tool policy"
        verbose_name_plural = "tool policies"

    def __str__(self) -> str:
        return f"Tool policy of {self.organization}"


class PolicyRule(models.Model):
    """One rule. They are tried in their order, and the first that fits decides."""

    class Kind(models.TextChoices):
        PATH = "path", "a path below"
        COMMAND = "command", "a command"

    policy = models.ForeignKey(OrganizationPolicy, models.CASCADE, related_name="rules")
    position = models.PositiveSmallIntegerField(default=0, help_text="The lowest is tried first")
    server = models.CharField(max_length=64, default="*", help_text="Name of a server; * is any")
    tool = models.CharField(max_length=128, default="*", help_text="Name of a tool; * is any")
    argument = models.CharField(
        max_length=100, blank=True, help_text="Name of an argument, for example path or command"
    )
    kind = models.CharField(max_length=8, blank=True, choices=Kind)
    values = models.TextField(
        blank=True, help_text="Paths, or how commands begin; one on each line"
    )
    decision = models.CharField(max_length=5, choices=_DECISIONS)
    note = models.CharField(max_length=200, blank=True, help_text="Shown to whoever is asked")

    class Meta:
        verbose_name = "rule"
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return f"{self.server}/{self.tool}: {self.decision}"

    def clean(self) -> None:
        """An argument, what is asked of it, and the values go together."""
        given = [bool(self.argument), bool(self.kind), bool(self.values.strip())]
        if any(given) and not all(given):
            raise ValidationError(
                "A rule on an argument needs its name, whether it is a path or a command, and"
                " values. Leave all three empty for a rule on the whole tool."
            )


class PolicyVersion(models.Model):
    """The policy as it was saved once. A trigger of the migrations keeps it so."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="policy_versions")
    version = models.PositiveIntegerField()
    otherwise = models.CharField(max_length=5, choices=_DECISIONS)
    rules = models.JSONField(default=list)
    saved_at = models.DateTimeField(db_default=Now(), editable=False)
    saved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, db_constraint=False
    )

    class Meta:
        verbose_name = "version of a tool policy"
        verbose_name_plural = "versions of tool policies"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "version"], name="one_policy_a_version"
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="policies_count_from_one"),
        ]

    def __str__(self) -> str:
        return f"Version {self.version} for {self.organization}"
