"""What an upstream is found to be when somebody asks: is it there, of that kind, and knows us."""

import asyncio
import json
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from proxy import dialects, probe_client
from proxy.adapters.openai.language import PATH as CHAT_COMPLETIONS
from proxy.connections import Look
from proxy.probe_client import NoReplyError, Reply
from proxy.routing import UpstreamConfig

TOTAL_S = probe_client.TOTAL_S
LOOK_S = 3.0  # for the second question; without an answer to it the first one counts
SHOWN = 5  # so many models are named; the rest are counted
MODEL_CHARS = 100
MESSAGES = "/v1/messages"
ABSENT = frozenset({404, 405, 501})  # nothing of that name or that method


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of asking.

    `text` names no address, so a tenant may read it; `detail` is for operators alone.
    """

    ok: bool
    reachable: bool
    text: str
    detail: str = ""
    credential: str = "unknown"  # accepted, refused, none or unknown
    models: tuple[str, ...] = ()  # the first SHOWN
    count: int = 0
    ms: int = 0

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


async def tested(config: UpstreamConfig) -> Finding:
    """Ask an upstream for its models, and where the list leaves doubt for its API. Costs no tokens.

    It is given TOTAL_S.
    """
    if config.kind == "demo":
        return Finding(ok=True, reachable=True, text="It is built in.", credential="none")
    if config.problem:
        return Finding(ok=False, reachable=False, text=config.problem)
    started = time.monotonic()
    try:
        async with asyncio.timeout(TOTAL_S):
            is_brigade = config.kind == "brigade"
            finding = await (_brigade(config) if is_brigade else _judged(config))
    except TimeoutError:
        finding = _away(f"It did not answer within {TOTAL_S:.0f} seconds.")
    except NoReplyError as error:
        finding = _away(str(error), error.detail)
    if config.credential_variable and not config.credential:
        unset = (
            f"(${config.credential_variable} is not set here:"
            " put it into .env and start again, or store the credential.)"
        )
        finding = replace(finding, detail=f"{finding.detail} {unset}".strip())
    return replace(finding, ms=round((time.monotonic() - started) * 1000))


async def _brigade(config: UpstreamConfig) -> Finding:
    """Which dialects it speaks, and whether the fixed one is among them."""
    unanswered: list[NoReplyError] = []

    async def look(upstream: UpstreamConfig, path: str) -> Look | None:
        try:
            reply = await probe_client.ask(upstream, "POST", path, dialects.NOTHING)
        except NoReplyError as error:
            unanswered.append(error)
            return None
        return Look(status=reply.status, body=reply.body)

    found = await dialects.probed(config, look)
    statuses = found.statuses.values()
    if not any(statuses):
        raise unanswered[0]
    if refused := next((one for one in statuses if one in {401, 403}), 0):
        return _refused(config, refused)
    if not found.there:
        text = "Something is there, but it speaks none of Brigade's dialects."
        return Finding(ok=False, reachable=True, text=text)
    speaks = f"It is there and speaks {', '.join(found.there)}"
    accepted = "accepted" if config.credential else "none"
    if config.dialect and config.dialect not in found.there:
        text = f"{speaks}, but not {config.dialect}, which is set: leave the dialect empty."
        return Finding(ok=False, reachable=True, text=text, credential=accepted)
    text = f"{speaks}; it is asked in {config.dialect or found.there[0]}."
    return Finding(ok=True, reachable=True, text=text, credential=accepted)


def _away(text: str, detail: str = "") -> Finding:
    return Finding(ok=False, reachable=False, text=text, detail=detail)


async def _judged(config: UpstreamConfig) -> Finding:
    reply = await probe_client.ask(config, "GET", "/v1/models")
    finding = _found(config, reply)
    lists_as = _whose(reply.body)
    # A list in Anthropic's shape comes with the Messages API, and after a look at the credential.
    # Any other may be open to everybody, or belong to a server that speaks something else.
    is_clear = lists_as == "Anthropic" and config.kind != "openai"
    if reply.status == 429 or not finding.ok or is_clear:
        return finding
    path = CHAT_COMPLETIONS if config.kind == "openai" else MESSAGES
    try:
        async with asyncio.timeout(LOOK_S):
            look = await probe_client.ask(config, "POST", path, b"{}")
    except (TimeoutError, NoReplyError):
        return finding
    return _looked(config, finding, lists_as, path, look)


def _looked(
    config: UpstreamConfig, finding: Finding, lists_as: str, path: str, look: Reply
) -> Finding:
    """The finding after a request that says nothing, which a server refuses that has the path."""
    if look.status in {401, 403}:
        return replace(_refused(config, look.status), models=finding.models, count=finding.count)
    if _is_absent(look):
        fits, others = _KINDS[config.kind]
        listed = lists_as and lists_as != fits
        text = (
            f"It lists its models as {lists_as} does, and has no {path} ({look.status}):"
            f" is its kind {others}?"
            if listed
            else f"It has no {path} ({look.status}): are its address and its kind right?"
        )
        return replace(finding, ok=False, text=text)
    if lists_as == "Anthropic":
        text = f"{finding.text} It lists them as Anthropic does: is its kind anthropic?"
        return replace(finding, text=text)
    if lists_as == "OpenAI" and config.kind == "anthropic":
        text = f"{finding.text} It lists them as OpenAI does: is its kind compatible?"
        return replace(finding, text=text)
    return finding


# Whose list each kind has, and what a server is that has the other one.
_KINDS = {
    "anthropic": ("Anthropic", "openai"),
    "compatible": ("Anthropic", "openai"),
    "openai": ("OpenAI", "anthropic or compatible"),
}


def _is_absent(look: Reply) -> bool:
    # A server that has the path may say 404 of the model, which the request does not name.
    is_about_models = not look.is_html and b"model" in look.body.lower()
    return look.status in ABSENT and not is_about_models


def _found(config: UpstreamConfig, reply: Reply) -> Finding:
    status = reply.status
    if 200 <= status < 300:
        return _listed(config, reply)
    if 300 <= status < 400:
        text = f"It redirects elsewhere ({status}): enter the address where it is."
        return Finding(ok=False, reachable=True, text=text, detail=_place(reply.location))
    if status in {401, 403}:
        return _refused(config, status)
    if status in ABSENT:
        text = f"It is there, but has no list of models ({status})."
        return Finding(ok=True, reachable=True, text=text)
    if status == 429:
        return Finding(ok=True, reachable=True, text="It is there, but asks to wait (429).")
    text = f"Something is there, but answers with status {status}."
    return Finding(ok=False, reachable=True, text=text)


def _place(location: str) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        parts = urlsplit(location)
        there = f"({parts.scheme}://{parts.hostname}{parts.path})"[:200]
        return there if parts.hostname and there.isprintable() else ""
    except ValueError:
        return ""


def _refused(config: UpstreamConfig, status: int) -> Finding:
    if config.credential:
        text = f"It is there, but refuses the credential ({status})."
        return Finding(ok=False, reachable=True, text=text, credential="refused")
    text = f"It is there, but wants a credential ({status})."
    return Finding(ok=False, reachable=True, text=text, credential="none")


def _listed(config: UpstreamConfig, reply: Reply) -> Finding:
    if reply.is_html:
        text = "Something is there, but answers with a web page: is the address right?"
        return Finding(ok=False, reachable=True, text=text)
    credential = "accepted" if config.credential else "none"
    names = _names(reply.body)
    if names is None:
        text = "It is there, but lists its models in no shape that is known."
        return Finding(ok=True, reachable=True, text=text, credential=credential)
    accepted = " and takes the credential" if config.credential else ""
    more = ", …" if len(names) > SHOWN else ""
    shown = tuple(name[:MODEL_CHARS] for name in names[:SHOWN])
    count = f"{len(names)} model{'s' * (len(names) != 1)}"
    listed = f": {', '.join(shown)}{more}" if names else ""
    return Finding(
        ok=True,
        reachable=True,
        text=f"It is there{accepted}. It lists {count}{listed}.",
        credential=credential,
        models=shown,
        count=len(names),
    )


def _names(body: bytes) -> list[str] | None:
    """The models of a list in the shape of OpenAI's or Anthropic's; None for any other shape."""
    try:
        parsed: Any = json.loads(body)
        entries = parsed["data"]
        names = [entry["id"] for entry in entries]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    # They are printed to terminals and pages.
    return [name for name in names if isinstance(name, str) and name.isprintable()]


def _whose(body: bytes) -> str:
    """Whose shape a list of models has: OpenAI, Anthropic or, empty, none that is certain."""
    try:
        parsed: Any = json.loads(body)
        entries = parsed["data"]
        by_openai = parsed.get("object") == "list" or any("object" in each for each in entries)
        by_anthropic = "has_more" in parsed or any(each.get("type") == "model" for each in entries)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    if by_openai == by_anthropic:
        return ""
    return "OpenAI" if by_openai else "Anthropic"
