"""Which of its dialects a Brigade speaks, found out by asking and remembered for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from accounts.memory import Memory
from proxy import connections
from proxy.adapters.anthropic import shown_credential
from proxy.adapters.brigade import a2a, chat, tasks
from proxy.adapters.brigade.language import ABSENT, OPENAI, OPENAI_PATH
from proxy.aliases import agent_of
from proxy.answer import (
    Answer,
    UpstreamNonsenseError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from proxy.connections import Look
from proxy.routing import Target, UpstreamConfig

Looking = Callable[[UpstreamConfig, str], Awaitable[Look | None]]

PROBE_S = 3.0  # all dialects are looked for at once; a server that is there says so within this
REMEMBERED_S = 600.0  # a Brigade learns a dialect with an upgrade, and a wrong guess is told by 404
NOTHING = b"{}"
MOST = 1000  # Brigades; more is somebody playing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A Brigade at its address."""

    name: str
    base_url: str
    upstream: UpstreamConfig = field(compare=False)

    @classmethod
    def of(cls, upstream: UpstreamConfig) -> "_Place":
        return cls(name=upstream.name, base_url=upstream.base_url, upstream=upstream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a Brigade has said to the question for each dialect; a status of 0 is nothing."""

    statuses: Mapping[str, int]
    there: tuple[str, ...]  # the dialects it speaks, the best first


async def settled(target: Target) -> Target:
    """The target with the dialect to ask it in. Raises UpstreamError where there is none.

    Whoever waits for it waits in this target's own time: no other upstream is held up.
    """
    upstream = target.upstream
    if upstream.dialect:
        return target
    dialect = await _memory.get(_Place.of(upstream))
    return replace(target, upstream=replace(upstream, dialect=dialect))


def heard(target: Target, answer: Answer) -> None:
    """Ask anew the next time, if it does not know the path that it is taken to know."""
    if answer.said_status in ABSENT and not _is_about_agent(answer.body):
        _memory.forget(_Place.of(target.upstream))


async def looked(upstream: UpstreamConfig, path: str) -> Look | None:
    """What is found at one path by a request that says nothing."""
    headers = {
        "content-type": "application/json",
        **upstream.headers,
        **shown_credential(upstream.credential_header, upstream.credential),
    }
    return await connections.look(upstream, path, body=NOTHING, headers=headers)


async def probed(upstream: UpstreamConfig, look: Looking = looked) -> Found:
    """Ask for all dialects side by side, with requests that say nothing and cost nothing.

    Raises TimeoutError when that takes longer than PROBE_S.
    """
    agent = agent_of("", upstream.aliases)
    # In the order in which they are preferred: by how much of a request can be said in them.
    paths = {
        tasks.NAME: tasks.PATH,
        OPENAI: OPENAI_PATH,
        chat.NAME: chat.path(agent),
        a2a.NAME: a2a.path(agent),
    }
    async with asyncio.timeout(PROBE_S):
        looks = await asyncio.gather(*(look(upstream, path) for path in paths.values()))
    found = dict(zip(paths, looks, strict=True))
    return Found(
        statuses={name: look.status if look else 0 for name, look in found.items()},
        there=tuple(name for name, look in found.items() if look and _is_there(look)),
    )


def _is_there(look: Look) -> bool:
    # Where the path is, it is the agent that may be unknown; Brigade says so.
    if look.status in ABSENT:
        return _is_about_agent(look.body)
    return look.status < 500


def _is_about_agent(body: bytes) -> bool:
    return b"agent" in body.lower()


async def _best(place: _Place) -> str:
    name = place.name
    try:
        found = await probed(place.upstream)
    except TimeoutError as error:
        raise UpstreamTimeoutError(f"The upstream {name} did not answer in time.") from error
    if found.there:
        return found.there[0]
    if not any(found.statuses.values()):
        raise UpstreamUnreachableError(f"The upstream {name} cannot be reached.")
    raise UpstreamNonsenseError(
        f"The upstream {name} speaks none of Brigade's dialects: are its address and kind right?"
    )


_memory: Memory[_Place, str] = Memory(_best, ttl_s=REMEMBERED_S, most=MOST)
