"""Tiers, who is on which, and what of its limits is used and held just now."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models.functions import Now

from accounts.models import Organization
from billing.plans import normalized

MOST = 10**15  # tokens or nano-dollars; more is a slip of the pen (a million dollars)


class Limits(models.Model):
    """Limits of one user, service key or organization. Empty: unlimited. Days and months: UTC."""

    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    requests_per_day = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_day = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST)],
        help_text="Input, cache writes and output; what is read from a cache does not count.",
    )
    cost_per_day_nano = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST)],
        help_text="A budget in nano-dollars.",
    )
    cost_per_month_nano = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST)],
        help_text="A budget in nano-dollars.",
    )

    class Meta:
        abstract = True


class Plan(Limits):
    """A tier. Its limits are for each user of an organization, and for each service key."""

    code = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    overdraft = models.BooleanField(
        default=False,
        help_text="Let one more request begin as long as anything is left, although it may use "
        "more than that. Off: a request begins only where there is room for all that it may use.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a code that is another plan's alias."""
        if PlanAlias.objects.filter(code=normalized(self.code)).exists():
            raise ValidationError({"code": "An alias of another plan has this code."})


class PlanAlias(models.Model):
    """Another code for a plan, as Lago or an identity provider may call it."""

    code = models.CharField(max_length=50, unique=True)
    plan = models.ForeignKey(Plan, models.CASCADE, related_name="aliases")

    class Meta:
        verbose_name_plural = "plan aliases"
        ordering = ["code"]

    def __str__(self) -> str:
        return self.code

    def clean(self) -> None:
        """Keep it in the form in which codes are looked up."""
        self.code = normalized(self.code)
        if not self.code:
            raise ValidationError({"code": "A code has letters or digits."})
        if Plan.objects.filter(code=self.code).exists():
            raise ValidationError({"code": "A plan has this code."})


class Subscription(Limits):
    """An organization's plan. Its own limits here cap the whole organization."""

    class State(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"  # its requests are refused until it is active again

    organization = models.OneToOneField(
        Organization, models.CASCADE, primary_key=True, related_name="subscription"
    )
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="subscriptions")
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    reason = models.CharField(
        max_length=200, blank=True, help_text="Why it is suspended. Its users read it."
    )
    external_id = models.CharField(
        max_length=200,
        unique=True,
        null=True,
        blank=True,
        help_text="Lago's external_subscription_id. Empty: the organization's id.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["organization__name"]

    def __str__(self) -> str:
        return f"{self.organization} on {self.plan}"


class Allowance(models.Model):
    """What one subject has used of one day or month, and what its open requests hold of it.

    Changed by conditional UPDATEs of the writer alone, with the ledger row in one transaction.
    """

    # `organization/subject/period`: one string, so that locks can be taken in one order.
    id = models.CharField(primary_key=True, max_length=140)
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    subject = models.CharField(max_length=60, help_text="user:<id>, key:<id> or organization")
    period = models.CharField(max_length=10, help_text="2026-11-25 or 2026-11, UTC")
    requests = models.BigIntegerField(default=0, db_default=0)
    tokens = models.BigIntegerField(default=0, db_default=0)
    tokens_held = models.BigIntegerField(default=0, db_default=0)
    cost_nano = models.BigIntegerField(default=0, db_default=0)
    cost_held_nano = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        indexes = [models.Index(fields=["period"], name="allowance_by_period")]

    def __str__(self) -> str:
        return self.id
