"""Where requests may go: upstreams, and the routes that lead to them."""

import re
from urllib.parse import urlsplit

from django.conf import settings
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


def variable_name(value: str) -> None:
    """Refuse what is no name of a variable that may hold an upstream's credential."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        raise ValidationError(
            "Enter the name of an environment variable, not the credential itself."
        )
    if value.startswith("OPSCENTER_"):
        raise ValidationError("The gateway's own settings are given to no upstream.")


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
        "base URL",
        max_length=500,
        blank=True,
        validators=[http_address],
        help_text="Without /v1, for example https://api.anthropic.com",
    )
    credential_variable = models.CharField(
        max_length=100,
        blank=True,
        validators=[variable_name],
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

    def clean(self) -> None:
        """Say at the field what the database would only refuse."""
        if self.kind != self.Kind.DEMO and not self.base_url:
            raise ValidationError(
                {"base_url": "An upstream needs an address; only the demo has none."}
            )
        own = {settings.EXTERNAL_API_URL, f"http://{settings.HOST}:{settings.PORT}"}
        if self.base_url.rstrip("/") in own:
            raise ValidationError(
                {"base_url": "This is the gateway itself: it would ask for ever."}
            )


class Route(models.Model):
    """Which upstream answers for which model name. The lowest position that matches wins."""

    pattern = models.CharField(
        max_length=256, help_text="A model name; * stands for any run of characters."
    )
    position = models.PositiveIntegerField(
        default=100, help_text="The lowest that matches is taken."
    )
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
