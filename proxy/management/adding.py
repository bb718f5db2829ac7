"""An upstream and its routes, made or updated in one transaction, as a command asks for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, sealed
from proxy import credentials, trail
from proxy.models import Route, Upstream
from proxy.validators import plain_credential

Kind = Upstream.Kind
PASTED = ("/v1/messages", "/v1/chat/completions", "/v1")  # with an address, and not part of it


class AddingError(Exception):
    """It cannot be made so. The text names every option that is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for; what is not in `fields` keeps its value, or gets its default."""

    name: str
    url: str
    credential: str
    routes: tuple[str, ...]  # PATTERN or PATTERN=TARGET
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What there is now."""

    upstream: Upstream
    is_new: bool
    routes: list[Route]  # all that lead there
    notes: list[str]  # what was decided without being asked


def add(wish: Wish, *, replace: bool) -> Added:
    """Make the upstream, or update it where `replace` allows that. Raises AddingError."""
    with transaction.atomic():
        stored = Upstream.objects.filter(name=wish.name).first()
        if stored and not replace:
            raise AddingError(f"NAME: there is an upstream {wish.name!r}; --replace updates it.")
        upstream = stored or Upstream(name=wish.name)
        had = upstream.credential_sealed
        notes = list(_filled(upstream, wish))
        _store(upstream, wish)
        _checked(upstream, _OPTIONS)
        trail.save(upstream, audit.SYSTEM)
        credentials.recorded(upstream, had, audit.SYSTEM)
        for pattern, target in _routes(wish).items():
            _lead(upstream, pattern, target)
    return Added(
        upstream=upstream,
        is_new=stored is None,
        routes=list(upstream.routes.filter(enabled=True)),
        notes=notes,
    )


def _filled(upstream: Upstream, wish: Wish) -> Iterator[str]:
    """Set the fields that were given, and the ones that follow from them."""
    if wish.url:
        given = wish.url.rstrip("/")
        upstream.base_url = next(
            (given.removesuffix(path) for path in PASTED if given.endswith(path)), given
        )
        if upstream.base_url != given:
            yield f"/v1 is added to every request, so the address is {upstream.base_url}."
    if upstream.pk is None and "kind" not in wish.fields:
        upstream.kind, why = _guessed(upstream.base_url, wish.name)
        yield f"Its kind is taken to be {upstream.kind}, {why}; --kind says otherwise."
    for name, value in wish.fields.items():
        setattr(upstream, name, value)
    if "credential_header" not in wish.fields and (upstream.pk is None or "kind" in wish.fields):
        header = Upstream.CredentialHeader
        is_anthropic = upstream.kind == Kind.ANTHROPIC
        upstream.credential_header = header.X_API_KEY if is_anthropic else header.BEARER


def _guessed(url: str, name: str) -> tuple[str, str]:
    if not url:
        return Kind.DEMO, "having no address"
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None  # the address will be refused in a moment
    if host == "api.anthropic.com":
        return Kind.ANTHROPIC, "by its address"
    return Kind.COMPATIBLE, "a server with /v1/messages of its own"


def _store(upstream: Upstream, wish: Wish) -> None:
    if wish.fields.get("credential_variable"):
        upstream.credential_sealed = ""
    if not wish.credential:
        return
    try:
        plain_credential(wish.credential)
        upstream.store(wish.credential)
    except (ValidationError, sealed.SealedError) as error:
        text = error.messages[0] if isinstance(error, ValidationError) else str(error)
        raise AddingError(f"--credential-stdin: {text}") from error


def _routes(wish: Wish) -> dict[str, str]:
    """The patterns that were asked for, each with its target."""
    found: dict[str, str] = {}
    for raw in wish.routes:
        pattern, _, target = raw.partition("=")
        if not pattern or not raw.isprintable():
            raise AddingError(f"--route: {raw!r} names no model.")
        if pattern in found:
            raise AddingError(f"--route: {pattern!r} stands there twice.")
        found[pattern] = target
    return found


def _lead(upstream: Upstream, pattern: str, target: str) -> None:
    """A route to the upstream for every organization; one that is there is brought in line."""
    same = Route.objects.filter(organization=None, pattern=pattern, upstream=upstream)
    route = same.filter(target_model=target).first() or same.first()
    route = route or Route(pattern=pattern, upstream=upstream, position=_position(pattern))
    route.target_model, route.enabled = target, True
    _checked(route, {})
    trail.save(route, audit.SYSTEM)


def _position(pattern: str) -> int:
    # What answers for all that has no route of its own must come last; so do the others with a *.
    return 1000 if pattern == "*" else 100


_OPTIONS = {"name": "NAME", "base_url": "URL", "__all__": "NAME"}


def _checked(row: Upstream | Route, options: Mapping[str, str]) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        said = error.message_dict.items()
        named = ((options.get(name, f"--{name.replace('_', '-')}"), texts) for name, texts in said)
        if isinstance(row, Route):
            named = (("--route", texts) for _, texts in said)
        raise AddingError("\n".join(f"{name}: {' '.join(texts)}" for name, texts in named)) from (
            error
        )
