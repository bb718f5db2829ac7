"""An upstream and its routes, made or updated in one transaction, as a command asks for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, sealed, trail
from proxy import credentials
from proxy.models import Route, Upstream
from proxy.validators import plain_credential

Kind = Upstream.Kind
STEP = 10  # between the positions of a chain, so that one can be put in between
# Well-known servers of OpenAI's language.
_OPENAI_HOSTS = frozenset(
    {
        "api.deepseek.com",
        "api.groq.com",
        "api.mistral.ai",
        "api.openai.com",
        "api.together.xyz",
        "openrouter.ai",
    }
)
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
    position: int | None  # of these routes; None: behind those that are there
    weight: int | None
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
            notes += _lead(upstream, pattern, target, wish)
        notes += _missing(upstream)
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
        upstream.kind, why = _guessed(upstream.base_url)
        yield f"Its kind is taken to be {upstream.kind}, {why}; --kind says otherwise."
    for name, value in wish.fields.items():
        setattr(upstream, name, value)
    if "credential_header" not in wish.fields and (upstream.pk is None or "kind" in wish.fields):
        header = Upstream.CredentialHeader
        by_key = upstream.kind in {Kind.ANTHROPIC, Kind.BRIGADE}
        upstream.credential_header = header.X_API_KEY if by_key else header.BEARER


def _guessed(url: str) -> tuple[str, str]:
    if not url:
        raise AddingError("URL: say where it is, or --kind demo.")
    try:
        parts = urlsplit(url)
        host, path = parts.hostname, parts.path
    except ValueError:
        host, path = None, ""  # the address will be refused in a moment
    if host == "api.anthropic.com":
        return Kind.ANTHROPIC, "by its address"
    # Some of these have the Messages API too, below a path of that name.
    if host in _OPENAI_HOSTS and not path.endswith("/anthropic"):
        return Kind.OPENAI, "by its address"
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
        if "*" in target:
            raise AddingError(f"--route: a * in the target {target!r} is not filled in.")
        if pattern in found:
            raise AddingError(f"--route: {pattern!r} stands there twice.")
        found[pattern] = target
    return found


def _lead(upstream: Upstream, pattern: str, target: str, wish: Wish) -> Iterator[str]:
    """A route to the upstream for every organization; one that is there is brought in line."""
    chain = Route.objects.filter(organization=None, pattern=pattern).select_related("upstream")
    same = chain.filter(upstream=upstream)
    route = same.filter(target_model=target).first() or same.first()
    others = list(chain.filter(enabled=True, upstream__enabled=True).exclude(upstream=upstream))
    for demo in [other for other in others if other.upstream.kind == Kind.DEMO]:
        demo.enabled = False  # it would answer as if it were a model
        trail.save(demo, audit.SYSTEM)
        others.remove(demo)
        yield f"The demo answers no more for {pattern}: its route is switched off."
    if route is None:
        # What answers for all that has no route of its own comes last of all.
        first = 1000 if pattern == "*" else 100
        last = max((other.position for other in others), default=first - STEP)
        route = Route(pattern=pattern, upstream=upstream, position=last + STEP)
    if wish.position is not None:
        route.position = wish.position
    if wish.weight is not None:
        route.weight = wish.weight
    route.target_model, route.enabled = target, True
    _checked(route, {})
    trail.save(route, audit.SYSTEM)
    if others:
        yield _order([*others, route])


def _order(chain: list[Route]) -> str:
    """Who answers first, in words."""
    pattern, best = chain[0].pattern, min(route.position for route in chain)
    first = sorted(str(route.upstream) for route in chain if route.position == best)
    rest = [str(r.upstream) for r in sorted(chain, key=lambda r: r.position) if r.position > best]
    shared = f"{' and '.join(first)} share {pattern} by weight" if len(first) > 1 else ""
    said = shared or f"{first[0]} answers for {pattern}"
    return f"{said}; when it fails: {', '.join(rest)}. --position says otherwise." if rest else said


def _missing(upstream: Upstream) -> Iterator[str]:
    name = upstream.credential_variable
    if name and not settings.READ_CREDENTIAL(name):
        yield (
            f"{name} is not set: put it into .env and start the server again, "
            "or use --credential-stdin, which counts at once."
        )


_OPTIONS = {"name": "NAME", "base_url": "URL", "aliases": "--alias", "__all__": "NAME"}
_NAME = ["It has 1 to 50 letters, digits, dashes and underscores."]  # Django's speaks of slugs


def _checked(row: Upstream | Route, options: Mapping[str, str]) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        said = [
            (name, _NAME if name == "name" else texts) for name, texts in error.message_dict.items()
        ]
        named = ((options.get(name, f"--{name.replace('_', '-')}"), texts) for name, texts in said)
        if isinstance(row, Route):
            named = (("--route", texts) for _, texts in said)
        raise AddingError("\n".join(f"{name}: {' '.join(texts)}" for name, texts in named)) from (
            error
        )
