"""What a new installation gets: an organization, an operator, a key and a default route."""

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import audit, keys, trail
from accounts.models import Membership, Organization
from accounts.principal import OF_PROGRAMS
from billing.models import Plan, Subscription
from proxy import probe, table
from proxy.catalog import KNOWN
from proxy.models import Route, Upstream

DEFAULT_MODEL = next(iter(KNOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An upstream that the environment names."""

    name: str
    because: str  # the variable that named it
    base_url: str = ""
    credential_variable: str = ""
    credential_header: str = Upstream.CredentialHeader.X_API_KEY
    kind: str = Upstream.Kind.ANTHROPIC


# The upstreams that the environment can name, each with the variable that does.
NAMED_BY = {"anthropic": "ANTHROPIC_API_KEY", "litellm": "LITELLM_URL", "ollama": "OLLAMA_HOST"}
DEMO = Offer(name="demo", because="nothing else is configured", kind=Upstream.Kind.DEMO)


def offers() -> list[Offer]:
    """What the environment names, best first. The demo is always the last."""
    read = settings.READ_CREDENTIAL
    found = []
    if read("ANTHROPIC_API_KEY"):
        found.append(
            Offer(
                name="anthropic",
                because="ANTHROPIC_API_KEY",
                base_url="https://api.anthropic.com",
                credential_variable="ANTHROPIC_API_KEY",
            )
        )
    if settings.LITELLM_URL:
        names = ("LITELLM_MASTER_KEY", "LITELLM_API_KEY")
        found.append(
            Offer(
                name="litellm",
                because="LITELLM_URL",
                base_url=settings.LITELLM_URL,
                credential_variable=next((name for name in names if read(name)), names[0]),
                credential_header=Upstream.CredentialHeader.BEARER,
                kind=Upstream.Kind.COMPATIBLE,
            )
        )
    if settings.OLLAMA_HOST:
        found.append(
            Offer(
                name="ollama",
                because="OLLAMA_HOST",
                base_url=ollama_url(settings.OLLAMA_HOST),
                kind=Upstream.Kind.COMPATIBLE,
            )
        )
    return [*found, DEMO]


def ollama_url(host: str) -> str:
    """The address that Ollama's own clients make of OLLAMA_HOST, where any part may be missing."""
    scheme, separator, rest = host.strip().partition("://")
    if not separator:
        scheme, rest = "http", host.strip()
    place, _, path = rest.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"  # an IPv6 address without its brackets
    parts = urlsplit(f"//{place}")
    default = {"http": 80, "https": 443}.get(scheme, 11434) if separator else 11434
    try:
        port = parts.port or default
    except ValueError:
        port = default
    name = parts.hostname or "127.0.0.1"
    if name in {"0.0.0.0", "::"}:  # noqa: S104  (where Ollama listens; we only connect)
        name = "127.0.0.1"
    name = f"[{name}]" if ":" in name else name
    return f"{scheme}://{name}:{port}/{path}".rstrip("/")


def is_used(offer: Offer) -> bool:
    """Whether an upstream goes by the same address or credential already."""
    named = Q(credential_variable=offer.credential_variable) & ~Q(credential_variable="")
    return Upstream.objects.filter(Q(base_url=offer.base_url) | named).exists()


def changed_by(offer: Offer) -> list[str]:
    """What `lead_all_to` would change of what is there, a sentence each."""
    told = []
    row = Upstream.objects.filter(name=offer.name).first()
    if row and row.base_url != offer.base_url:
        told += [f"The address of {row.name} was {row.base_url}."]
    if row and row.credential_sealed and offer.credential_variable:
        told += [
            f"The stored credential of {row.name} was replaced by {offer.credential_variable}."
        ]
    others = _everything().filter(enabled=True).exclude(upstream__name=offer.name)
    names = ", ".join(others.values_list("upstream__name", flat=True))
    return [*told, f"The routes of * to {names} are switched off."] if names else told


def _everything() -> QuerySet[Route]:
    """The routes of all that has none of its own. One organization's are its own business."""
    return Route.objects.filter(pattern="*", organization=None)


def lead_all_to(offer: Offer) -> Route:
    """Make the offer the route of every model that has none of its own; others are switched off."""
    fields = {
        "kind": offer.kind,
        "base_url": offer.base_url,
        "credential_variable": offer.credential_variable,
        "credential_header": offer.credential_header,
        "enabled": True,
    }
    if offer.credential_variable:
        fields["credential_sealed"] = ""  # the environment is what was asked for
    with transaction.atomic():
        upstream = Upstream.objects.filter(name=offer.name).first() or Upstream(name=offer.name)
        for name, value in fields.items():
            setattr(upstream, name, value)
        trail.save(upstream, audit.SYSTEM)
        for other in _everything().filter(enabled=True).exclude(upstream=upstream):
            other.enabled = False
            trail.save(other, audit.SYSTEM)
        route = _everything().filter(upstream=upstream).first()
        route = route or Route(pattern="*", upstream=upstream)
        route.position, route.enabled = 1000, True
        trail.save(route, audit.SYSTEM)
    return route


def default_route() -> Route | None:
    """The route of every model that has none of its own."""
    open_to_all = _everything().filter(enabled=True, upstream__enabled=True)
    return open_to_all.select_related("upstream").first()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is shown once, and never again."""

    username: str
    password: str
    key: str


def open_installation() -> Opened | None:
    """Make the first organization, operator and key. None where there are users already."""
    with transaction.atomic():
        if User.objects.exists():
            return None
        password = secrets.token_urlsafe(15)
        operator = User.objects.create_superuser("operator", "", password)
        organization = Organization.objects.create(name="First organization")
        Subscription.objects.create(organization=organization, plan=_enterprise())
        Membership.objects.create(
            organization=organization, user=operator, role=Membership.Role.OWNER
        )
        row, key = keys.issue(organization, operator, "First key", list(OF_PROGRAMS), None)
        audit.record(
            "installation.opened",
            audit.key(row.id),
            "system",
            organization,
            {"operator": "operator"},
        )
    return Opened(username="operator", password=password, key=key)


def _enterprise() -> Plan:
    """The plan without limits: whoever installs a gateway must not be its first refused client."""
    return Plan.objects.get_or_create(code="enterprise", defaults={"name": "Enterprise"})[0]


def model_to_show(route: Route) -> str:
    """A model name that works on this route, for the lines that people paste."""
    upstream = route.upstream
    if upstream.kind == Upstream.Kind.DEMO or upstream.name == "anthropic":
        return DEFAULT_MODEL
    finding = async_to_sync(probe.tested)(table.config_of(upstream))
    return finding.models[0] if finding.models else f"<a model that {upstream.name} serves>"
