"""Why a model goes where it goes, for people."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from billing.patterns import matches
from proxy import routing
from proxy.routing import Asking, Moves, Own, RouteRule

NOBODY = UUID(int=0)  # who asks for no organization: only what is for all concerns them
MOST = 200  # candidates that are told; more say nothing more


def explained(
    rules: Sequence[RouteRule],
    asking: Asking,
    own: Own,
    moved: Moves,
    unwell: Callable[[RouteRule], str],
) -> dict[str, Any]:
    """What would be chosen and why, as plain values.

    `unwell` says why an upstream is not asked just now, empty where it is.
    """
    rules = [r for r in rules if r.organization_id in (None, asking.organization_id)]
    chain = routing.chain_of(rules, asking, moved)
    asked = next((rule for rule in chain if not unwell(rule)), None)
    if chain:
        reason = _reason(chain, asked, asking, moved)
        others = [rule for rule in rules if rule not in chain]
    else:
        reason, others = routing.nowhere(rules, asking), list(rules)
    candidates = [
        _told(rule, asking, own, *_standing(rule, asked, unwell(rule))) for rule in chain
    ] + [_told(rule, asking, own, "passed over", _why_not(rule, chain, asking)) for rule in others]
    return {
        "model": asking.model,
        "chosen": next((c for c in candidates if c["state"] == "chosen"), None),
        "reason": reason,
        "candidates": candidates[:MOST],
    }


def _reason(
    chain: Sequence[RouteRule], asked: RouteRule | None, asking: Asking, moved: Moves
) -> str:
    if asked is None:
        return "Every upstream of this chain has failed lately; each is tried again in turn."
    if asked is not chain[0]:
        return f"{chain[0].upstream.name} comes first, but has failed lately."
    if routing.home_of(chain, asking, moved) == asked.upstream.name:
        return "An outage has moved this session here; it stays while this upstream is well."
    if len(chain) > 1 and chain[1].position == asked.position:
        sharing = [rule.upstream.name for rule in chain if rule.position == asked.position]
        if asking.session:
            return f"The session's place among {', '.join(sharing)}, which share by weight."
        return f"{', '.join(sharing)} share by weight: name a session to see where it goes."
    return f"The closest pattern, {asked.pattern}, and its lowest position."


def _standing(rule: RouteRule, asked: RouteRule | None, unwell: str) -> tuple[str, str]:
    if rule is asked:
        return "chosen", "It answers."
    if unwell:
        return "unwell", unwell
    return "next", "It is asked when those before it fail."


def _why_not(rule: RouteRule, chain: Sequence[RouteRule], asking: Asking) -> str:
    if not matches(rule.pattern, asking.model):
        return "Its pattern does not match."
    if not rule.enabled:
        return "The route is switched off."
    if not rule.upstream.enabled:
        return "Its upstream is switched off."
    return f"The pattern {chain[0].pattern} comes before it." if chain else "It leads nowhere."


def _told(rule: RouteRule, asking: Asking, own: Own, state: str, why: str) -> dict[str, Any]:
    upstream = rule.upstream
    stored = own.get((asking.organization_id, upstream.name))
    value, problem = stored or (upstream.credential, upstream.problem)
    credential = "own" if stored else "operator" if value or problem else "none"
    if problem:
        why = f"{why} But its credential cannot be read."
    elif upstream.credential_variable and not value:
        why = f"{why} But its credential is not set."
    return {
        "pattern": rule.pattern,
        "position": rule.position,
        "weight": rule.weight,
        "upstream": upstream.name,
        "kind": upstream.kind,
        "target_model": rule.target_model or asking.model,
        "organization": str(rule.organization_id) if rule.organization_id else None,
        "credential": credential,
        "state": state,
        "why": why,
    }
