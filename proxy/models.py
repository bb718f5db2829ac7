"""Where requests may go: upstreams, and the routes that lead to them."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now


def http_address(value: str) -> None:
    """Refuse what is no address of a server that /v1/messages can be appended to."""
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment or parts.username or not value.isprintable():
        raise ValidationError("Enter an http:// or https:// address, without user or query.")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValidationError("Leave out /v1: it is added to every request.")


class Upstream(models.Model):
    """A server that answers for models."""

    class Kind(models.TextChoices):
        ANTHROPIC = "anthropic", "Anthropic format (speaks the Messages API)"
        DEMO = "demo", "Demo (built in, no model)"

    class CredentialHeader(models.TextChoices):
        X_API_KEY = "x-api-key", "x-api-key: …"
        BEARER = "authorization", "Authorization: Bearer …"

    name = models.SlugField(max_length=50, unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    # Not a URLField: Django's takes no host name without a dot, and containers have such names.
    base_url = models.CharField(
        max_length=500,
        blank=True,
        validators=[http_address],
        help_text="Without /v1, for example https://api.anthropic.com",
    )
    credential_variable = models.CharField(
        max_length=100,
        blank=True,
        help_text="The environment variable with the credential, for example ANTHROPIC_API_KEY",
    )
    credential_header = models.CharField(
        max_length=20, choices=CredentialHeader, default=CredentialHeader.X_API_KEY
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="only_the_demo_has_no_address",
                condition=models.Q(kind="demo") | ~models.Q(base_url=""),
            ),
            models.CheckConstraint(
                name="a_known_upstream_kind", condition=models.Q(kind__in=["anthropic", "demo"])
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """Which upstream answers for which model name. The lowest position that matches wins."""

    pattern = models.CharField(
        max_length=256, help_text="A model name; * stands for any run of characters."
    )
    position = models.PositiveIntegerField(default=100)
    upstream = models.ForeignKey(Upstream, models.CASCADE, related_name="routes")
    target_model = models.CharField(
        max_length=256, blank=True, help_text="The name the upstream knows; empty: as requested."
    )
    display_name = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["pattern", "upstream"], name="one_route_each")
        ]

    def __str__(self) -> str:
        return f"{self.pattern} -> {self.upstream}"
