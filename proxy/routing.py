"""Model name and caller to the targets that may answer, in the order they are tried."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from billing.patterns import closeness, matches
from proxy.agents import Toolset

Home = tuple[UUID, str]  # an organization, and the name of an upstream or of one of its sessions


class NoRouteError(Exception):
    """No route leads anywhere for this model. The text goes to the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """An upstream as the hot path needs it. Times are seconds, limits tokens; None: the default."""

    name: str
    kind: str
    base_url: str
    credential_header: str = "x-api-key"
    credential_variable: str = ""
    credential: str = field(default="", repr=False)
    problem: str = ""  # why the credential cannot be used
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_s: float | None = None
    answer_s: float | None = None
    idle_s: float | None = None
    concurrency: int | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    tls_verify: bool = True
    tls_ca: str = field(default="", repr=False)
    private_networks: bool = False
    meters_itself: bool = False
    dialect: str = ""  # of Brigade's; empty: to be found out
    aliases: Mapping[str, str] = field(default_factory=dict)  # names to Brigade's agents
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One route."""

    pattern: str
    upstream: UpstreamConfig
    position: int = 100
    weight: int = 1
    target_model: str = ""  # empty: the requested name
    organization_id: UUID | None = None  # None: for all
    display_name: str = ""
    description: str = ""
    lifecycle: str = "active"
    toolsets: tuple[Toolset, ...] = ()
    enabled: bool = True

    @property
    def is_open(self) -> bool:
        """Whether operators let it be used."""
        return self.enabled and self.upstream.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one request goes, under which model name and with whose credential."""

    upstream: UpstreamConfig
    model: str
    route: str = ""  # the pattern that led there
    credential: str = field(default="", repr=False)
    problem: str = ""
    is_own: bool = False  # the credential is the caller's organization's


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a choice depends on besides the table."""

    model: str
    organization_id: UUID
    session: str  # of the client, or anything that is different for each request

    @property
    def home(self) -> Home:
        """The session, so that no other organization's has the same."""
        return self.organization_id, self.session


Own = Mapping[Home, tuple[str, str]]  # an organization's own credentials, or why one is of no use
Move = tuple[datetime, str, str, str]  # when, for which model, from and to which upstream
Moves = Callable[[Home], Sequence[Move]]  # where outages have moved a session, the newest first


def choose(
    rules: Sequence[RouteRule], asking: Asking, own: Own, moved: Moves
) -> tuple[Target, ...]:
    """The targets for one request, best first. Raises NoRouteError."""
    chain = chain_of(rules, asking, moved)
    if not chain:
        raise NoRouteError(nowhere(rules, asking))
    return tuple(_target(rule, asking, own) for rule in chain)


def chain_of(rules: Sequence[RouteRule], asking: Asking, moved: Moves) -> list[RouteRule]:
    """The routes of the one pattern that answers, in the order they are tried.

    Routes of other patterns are no help when these fail: whoever sends `claude-*` to one place and
    the rest to another did not ask for the other's answers.
    """
    allowed = [r for r in _matching(rules, asking) if r.is_open]
    if len(allowed) < 2:
        return allowed
    pattern = min(allowed, key=_closeness).pattern
    chain = [rule for rule in allowed if rule.pattern == pattern]
    if len(chain) == 1:
        return chain
    chain.sort(key=_rank)
    ordered = [r for _, pool in groupby(chain, _rank) for r in _shared(list(pool), asking.session)]
    home = home_of(ordered, asking, moved)
    return sorted(ordered, key=lambda rule: rule.upstream.name != home)  # stable: home comes first


def home_of(chain: Iterable[RouteRule], asking: Asking, moved: Moves) -> str:
    """Where an outage has moved the session to in this chain; empty where it has not.

    A session has several models, and their chains may have nothing to do with one another.
    """
    names = {rule.upstream.name for rule in chain}
    return next(
        (
            to
            for _, model, origin, to in moved(asking.home)
            if to in names and (origin in names or model == asking.model)
        ),
        "",
    )


def _matching(rules: Iterable[RouteRule], asking: Asking) -> list[RouteRule]:
    return [
        rule
        for rule in rules
        if rule.organization_id in (None, asking.organization_id)
        and matches(rule.pattern, asking.model)
    ]


def _rank(rule: RouteRule) -> tuple[int, bool]:
    """Its place in a chain: what is meant for this organization comes before what is for all."""
    return rule.position, rule.organization_id is None


def _closeness(rule: RouteRule) -> tuple[int, bool, bool, int, str]:
    return (*_rank(rule), *closeness(rule.pattern))


def _shared(pool: list[RouteRule], session: str) -> list[RouteRule]:
    """Weighted rendezvous hashing: every worker puts a session at the same place, forever.

    Each rule draws a number from the session and itself; a route that is added or taken away
    moves only the sessions that are its own.
    """
    if len(pool) == 1:
        return pool
    return sorted(pool, key=lambda rule: _drawn(rule, session))


def _drawn(rule: RouteRule, session: str) -> float:
    seed = f"{session}\0{rule.upstream.name}\0{rule.target_model}".encode(errors="replace")
    number = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")
    return (
        -math.log((number + 1) / (2**64 + 1)) / rule.weight
    )  # the least wins, as often as it weighs


def _target(rule: RouteRule, asking: Asking, own: Own) -> Target:
    upstream = rule.upstream
    stored = own.get((asking.organization_id, upstream.name))
    credential, problem = stored or (upstream.credential, upstream.problem)
    return Target(
        upstream=upstream,
        model=rule.target_model or asking.model,
        route=rule.pattern,
        credential=credential,
        problem=problem,
        is_own=stored is not None,
    )


def nowhere(rules: Sequence[RouteRule], asking: Asking) -> str:
    """Why nothing answers for this model, in words for the client."""
    closed = [rule for rule in _matching(rules, asking) if not rule.is_open]
    if not closed:
        return f"model: {asking.model} is not served here. GET /v1/models lists what is."
    rule = closed[0]
    what = "route" if not rule.enabled else f"upstream {rule.upstream.name}"
    return f"model: {asking.model} is not served at present: its {what} is switched off."


def published(
    rules: Iterable[RouteRule], known: Iterable[str], organization_id: UUID
) -> dict[str, RouteRule]:
    """The models to list for an organization, each with the route that answers first: every name
    with a route of its own, in their order, then the `known` ones that a pattern covers."""
    open_to_it = sorted(
        (r for r in rules if r.is_open and r.organization_id in (None, organization_id)), key=_rank
    )
    found: dict[str, RouteRule] = {}
    for rule in open_to_it:
        if "*" not in rule.pattern:
            found.setdefault(rule.pattern, rule)
    for name in known:
        covering = [rule for rule in open_to_it if matches(rule.pattern, name)]
        if name not in found and covering:
            found[name] = min(covering, key=_closeness)
    return found
