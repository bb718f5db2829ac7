"""Model name to the target that answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class NoRouteError(Exception):
    """No route leads anywhere for this model. The text goes to the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamConfig:
    """An upstream as the hot path needs it."""

    name: str
    kind: str
    base_url: str
    credential_header: str
    credential_variable: str
    credential: str

    def __repr__(self) -> str:
        return f"UpstreamConfig({self.name})"  # never the credential


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One enabled route to an enabled upstream."""

    pattern: str
    upstream: UpstreamConfig
    target_model: str  # empty: the requested name
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one request goes, and under which model name."""

    upstream: UpstreamConfig
    model: str


def choose(rules: Sequence[RouteRule], model: str) -> Target:
    """The target of the first rule that matches. `rules` stand in the order they are tried."""
    for rule in rules:
        if matches(rule.pattern, model):
            return Target(upstream=rule.upstream, model=rule.target_model or model)
    raise NoRouteError(f"model: {model} is not served here. GET /v1/models lists what is.")


def matches(pattern: str, model: str) -> bool:
    """Whether `model` is what `pattern` means; `*` stands for any run of characters.

    Not a regular expression: some patterns would let a long model name keep one busy for seconds.
    """
    head, *parts = pattern.split("*")
    if not parts:
        return model == pattern
    *middle, tail = parts
    at, end = len(head), len(model) - len(tail)
    if at > end or not model.startswith(head) or not model.endswith(tail):
        return False
    for part in middle:
        found = model.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def published(rules: Iterable[RouteRule], known: Iterable[str]) -> dict[str, str]:
    """The models to list, id to display name: each name with a route of its own, in their order,
    then the `known` ones that a pattern covers."""
    rules = list(rules)
    exact: dict[str, str] = {}
    for rule in rules:
        if "*" not in rule.pattern:
            exact.setdefault(rule.pattern, rule.display_name)  # the first one answers
    covered = {
        name: ""
        for name in known
        if name not in exact and any(matches(rule.pattern, name) for rule in rules)
    }
    return exact | covered
