"""Where requests may go: upstreams, the routes that lead to them, and tenants' own credentials."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from accounts import sealed
from accounts.models import Organization
from proxy.addresses import literal_off_limits
from proxy.validators import (
    agent_aliases,
    certificates,
    extra_headers,
    finite,
    http_address,
    toolsets,
    variable_name,
)

TOKENS = [MinValueValidator(1), MaxValueValidator(100_000_000)]
THERE_ALREADY = "There is such a route already."
SECONDS: list[Callable[[Any], None]] = [finite, MinValueValidator(0.1), MaxValueValidator(3600)]


class Upstream(models.Model):
    """A server that answers for models."""

    class Kind(models.TextChoices):
        ANTHROPIC = "anthropic", "Anthropic (bytes go through untouched)"
        COMPATIBLE = "compatible", "Messages API served by others (LiteLLM, vLLM, Ollama)"
        OPENAI = "openai", "OpenAI Chat Completions (translated)"
        BRIGADE = "brigade", "Unicorn Brigade (agents, translated)"
        DEMO = "demo", "Demo (built in, no model)"

    class Dialect(models.TextChoices):
        TASKS = "tasks", "Tasks (/api/tasks)"
        OPENAI = "openai", "OpenAI-compatible (/api/v1/chat/completions)"
        CHAT = "chat", "Chat with one agent (/api/v1/agents/…/chat)"
        A2A = "a2a", "A2A (/api/v1/a2a/agents/…/invoke)"

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
    enabled = models.BooleanField(default=True)

    credential_variable = models.CharField(
        max_length=100,
        blank=True,
        validators=[variable_name],
        help_text="The environment variable with the credential, for example ANTHROPIC_API_KEY",
    )
    credential_sealed = models.TextField(blank=True, editable=False)  # by accounts.sealed
    credential_header = models.CharField(
        max_length=20,
        choices=CredentialHeader,
        default=CredentialHeader.X_API_KEY,
        help_text="An OpenAI upstream is always shown a bearer.",
    )
    headers = models.JSONField(
        default=dict,
        blank=True,
        validators=[extra_headers],
        help_text='Added to every request, for example {"x-team": "research"}',
    )

    connect_s = models.FloatField(
        "connect, seconds", null=True, blank=True, validators=SECONDS, help_text="Empty: default."
    )
    answer_s = models.FloatField(
        "first byte, seconds",
        null=True,
        blank=True,
        validators=SECONDS,
        help_text="From the request to the head of the answer. Empty: default.",
    )
    idle_s = models.FloatField(
        "silence, seconds",
        null=True,
        blank=True,
        validators=SECONDS,
        help_text="In the middle of a stream. Empty: default.",
    )
    concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests under way at once, for each worker process. Empty: no limit.",
    )
    context_window = models.PositiveIntegerField(
        null=True, blank=True, validators=TOKENS, help_text="Tokens of its models. Empty: unknown."
    )
    max_output_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=TOKENS,
        help_text="A larger max_tokens is lowered to this, but for Anthropic. Empty: unknown.",
    )

    tls_verify = models.BooleanField("verify its certificate", default=True)
    tls_ca = models.TextField(
        "its own CA",
        blank=True,
        validators=[certificates],
        help_text="Certificates in PEM, trusted for this upstream only. Empty: the system's.",
    )
    private_networks = models.BooleanField(
        "allow link-local and metadata addresses",
        default=False,
        help_text="Loopback and private networks are always allowed.",
    )
    meters_itself = models.BooleanField(
        default=False,
        db_default=False,
        help_text="This upstream reports usage to Lago itself, as LiteLLM's callback does: its "
        "requests are not sent again.",
    )
    dialect = models.CharField(
        max_length=10,
        choices=Dialect,
        blank=True,
        default="",
        db_default="",
        help_text="Of a Brigade. Empty: it is found out and remembered for a while.",
    )
    aliases = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        blank=True,
        validators=[agent_aliases],
        help_text="Of a Brigade: names of ours to its agents, before what is built in.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="only_the_demo_has_no_address", condition=Q(kind="demo") | ~Q(base_url="")
            ),
            models.CheckConstraint(
                name="a_known_upstream_kind",
                condition=Q(kind__in=["anthropic", "compatible", "openai", "brigade", "demo"]),
            ),
            models.CheckConstraint(
                name="a_known_dialect",
                condition=Q(dialect__in=["", "tasks", "openai", "chat", "a2a"]),
            ),
            models.CheckConstraint(
                name="one_credential_at_most",
                condition=Q(credential_variable="") | Q(credential_sealed=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Say at the field what the database would only refuse."""
        self.headers, self.aliases = self.headers or {}, self.aliases or {}  # emptied: None
        problems: dict[str, Any] = {}
        own = {settings.EXTERNAL_API_URL, f"http://{settings.HOST}:{settings.PORT}"}
        if self.kind != self.Kind.DEMO and not self.base_url:
            problems["base_url"] = "An upstream needs an address; only the demo has none."
        elif self.base_url.rstrip("/") in own:
            problems["base_url"] = "This is the gateway itself: it would ask for ever."
        elif self.base_url and not self.private_networks and literal_off_limits(self.base_url):
            problems["base_url"] = (
                "This is a link-local or metadata address. "
                "Allow such addresses (--link-local) if that is meant."
            )
        if self.credential_variable and self.credential_sealed:
            problems["credential_variable"] = "The credential is stored here already: keep one."
        if problems:
            raise ValidationError(problems)

    def store(self, credential: str) -> None:
        """Keep `credential` encrypted instead of naming a variable. Raises sealed.SealedError."""
        self.credential_sealed = sealed.seal(credential) if credential else ""
        self.credential_variable = "" if credential else self.credential_variable


class Route(models.Model):
    """One upstream that answers for a model name.

    The routes of one pattern are a chain: the lowest position answers, the next when it fails, and
    those of equal position share by weight. Of several patterns that match, the one with the lowest
    position is taken, and then the closest.
    """

    class Lifecycle(models.TextChoices):
        ACTIVE = "active"
        DEPRECATED = "deprecated"
        RETIRED = "retired"

    pattern = models.CharField(
        max_length=256, help_text="A model name; * stands for any run of characters."
    )
    position = models.PositiveIntegerField(
        default=100, help_text="The lowest is asked first; the next ones when it fails."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Its share among routes of the same pattern and position.",
    )
    upstream = models.ForeignKey(Upstream, models.CASCADE, related_name="routes")
    target_model = models.CharField(
        max_length=256, blank=True, help_text="The name the upstream knows; empty: as requested."
    )
    organization = models.ForeignKey(
        Organization,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="routes",
        help_text="Only for this organization. Empty: for all.",
    )
    display_name = models.CharField(max_length=200, blank=True)
    description = models.CharField(
        max_length=500, blank=True, help_text="Shown where people choose a model."
    )
    lifecycle = models.CharField(max_length=10, choices=Lifecycle, default=Lifecycle.ACTIVE)
    toolsets = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),  # the former release writes none
        blank=True,
        validators=[toolsets],
        help_text="Servers whose tools every request of this route is given: "
        '[{"url": "tunnel://laptop/files", "allow": ["read_file"]}]',
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["pattern", "upstream", "target_model"],
                condition=Q(organization=None),
                name="one_route_each",
                violation_error_message=THERE_ALREADY,
            ),
            models.UniqueConstraint(
                fields=["pattern", "upstream", "target_model", "organization"],
                name="one_route_each_organization",
                violation_error_message=THERE_ALREADY,
            ),
            models.CheckConstraint(name="a_route_has_weight", condition=Q(weight__gte=1)),
            models.CheckConstraint(
                name="a_known_lifecycle",
                condition=Q(lifecycle__in=["active", "deprecated", "retired"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pattern} -> {self.upstream}"

    def clean(self) -> None:
        """Say what nobody would notice before a request fails."""
        self.toolsets = self.toolsets or []  # of an emptied field a form makes None
        if "*" in self.target_model:
            raise ValidationError({"target_model": "A * stands for nothing here: enter one name."})
