"""What tokens cost: dated rows that are added and never edited."""

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Organization
from billing import pricing
from billing.pricing import PriceVersion

MOST_NANO = pricing.MOST_NANO
MOST_MULTIPLIER = pricing.MOST_MULTIPLIER_PPM


class Price(models.Model):
    """What one model's tokens cost from a moment on. Amounts: nano-dollars per million tokens.

    The row's id is the version that the ledger names. A newer row for the same pattern, upstream
    and organization takes over at its `valid_from`.
    """

    pattern = models.CharField(
        max_length=256, help_text="A model's name; * stands for anything. The closest one counts."
    )
    upstream = models.CharField(
        max_length=50, blank=True, default="", help_text="Only there. Empty: anywhere."
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="prices",
        help_text="Only for it. Empty: for all.",
    )
    input_nano = models.PositiveBigIntegerField(validators=[MaxValueValidator(MOST_NANO)])
    output_nano = models.PositiveBigIntegerField(validators=[MaxValueValidator(MOST_NANO)])
    cache_read_nano = models.PositiveBigIntegerField(validators=[MaxValueValidator(MOST_NANO)])
    cache_write_5m_nano = models.PositiveBigIntegerField(validators=[MaxValueValidator(MOST_NANO)])
    cache_write_1h_nano = models.PositiveBigIntegerField(validators=[MaxValueValidator(MOST_NANO)])
    server_tool_nano = models.PositiveBigIntegerField(
        default=0,
        validators=[MaxValueValidator(MOST_NANO)],
        help_text="Nano-dollars for one use of a tool that runs at the upstream.",
    )
    multiplier_ppm = models.PositiveBigIntegerField(
        default=1_000_000,
        validators=[MaxValueValidator(MOST_MULTIPLIER)],
        help_text="On the whole amount, in millionths: 1200000 charges a fifth more.",
    )
    is_default = models.BooleanField(
        default=False, help_text="For models that no other row knows. They are flagged and alarmed."
    )
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(
        null=True, blank=True, help_text="Empty: until a newer row for the same takes over."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    source = models.CharField(max_length=200, blank=True, help_text="Where the figures are from.")

    class Meta:
        ordering = ["pattern", "-valid_from", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["pattern", "upstream", "organization", "is_default", "valid_from"],
                condition=Q(organization__isnull=False),
                name="one_price_at_a_time",
            ),
            models.UniqueConstraint(
                fields=["pattern", "upstream", "is_default", "valid_from"],
                condition=Q(organization__isnull=True),
                name="one_price_for_all_at_a_time",
            ),
            models.CheckConstraint(
                name="a_price_ends_after_it_begins",
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=models.F("valid_from")),
            ),
        ]

    def __str__(self) -> str:
        where = f" at {self.upstream}" if self.upstream else ""
        return f"{self.pattern}{where} from {self.valid_from:%Y-%m-%d} (version {self.pk})"

    def version(self) -> PriceVersion:
        """The row as plain data."""
        return PriceVersion(
            id=self.pk,
            pattern=self.pattern,
            input_nano=self.input_nano,
            output_nano=self.output_nano,
            cache_read_nano=self.cache_read_nano,
            cache_write_5m_nano=self.cache_write_5m_nano,
            cache_write_1h_nano=self.cache_write_1h_nano,
            server_tool_nano=self.server_tool_nano,
            multiplier_ppm=self.multiplier_ppm,
            upstream=self.upstream,
            organization_id=self.organization_id,
            is_default=self.is_default,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )
