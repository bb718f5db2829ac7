"""Tasks that agents elsewhere work on, and the tokens by which they run tools meanwhile.

A token is the task's id under a keyed hash. Whatever it opens stands in the task's row, so that its
end counts in every process at once.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.db.models import BooleanField, Case, Q, Value, When

from accounts import auth
from accounts.auth import CredentialError
from accounts.keyed import keyed
from accounts.principal import CALLBACK, Principal
from mcp import clock, lastwords
from mcp.models import Task
from mcp.threads import off_loop

T = TypeVar("T")

TASK_S = 900.0  # three times what Brigade allows an agent; nobody needs a longer token
LOOK_S = 1.0  # so late may it be noticed that a task has ended whose call still runs
KEEP_S = 86_400.0  # after its end: whoever comes with its token is told so
IDEMPOTENCY_CHARS = 24  # of a hash; beside the task's id it fits into a call's own
_PURPOSE = "task token"
MISSING = "Unknown task token: send the one that came with the task, as it is"


class TaskError(CredentialError):
    """The token opens nothing, or no more. The text says why."""


class NotGrantedError(Exception):
    """The task may not run this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A tool that a task may run: its names there, and where it is."""

    name: str
    server: str
    tool: str
    served: str
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A task under way, and for whom."""

    id: UUID
    principal: Principal
    request_id: str
    step: UUID | None
    tools: tuple[Granted, ...]

    def granted(self, server: str, tool: str) -> Granted:
        """The tool by either of its names. Raises NotGrantedError."""
        for one in self.tools:
            if one.server == server and tool in (one.name, one.tool):
                return one
        raise NotGrantedError(
            f"This task may not run {tool[:100]!r} of {server[:100]!r}: its own tools came with it."
        )

    def use_id(self, key: str) -> str:
        """The id of one call: the same for the same key of whoever works on the task."""
        named = hashlib.sha256(key.encode()).hexdigest() if key else secrets.token_hex(16)
        return f"{self.id.hex}-{named[:IDEMPOTENCY_CHARS]}"


async def begin(
    principal: Principal, request_id: str, step: UUID, tools: Sequence[Mapping[str, str]]
) -> str:
    """Hand out a task of this step of a request; its token.

    Raises accounts.reads.DatabaseAwayError.
    """
    task_id = uuid4()
    await _begin(
        id=task_id,
        organization_id=principal.organization_id,
        user_id=principal.user_id,
        api_key_id=principal.key_id,
        request_id=request_id,
        step=step,
        tools=[dict(one) for one in tools],
    )
    return _token(task_id)


async def end(token: str) -> None:
    """The work is over: from now on the token opens nothing. Also from what is being cancelled."""
    task_id = _id_of(token)
    if task_id is not None:
        await lastwords.said(_end(task_id))


async def opened(token: str) -> Work:
    """The work that a token was made for. Raises TaskError, accounts.auth.ClosedError,
    accounts.auth.ScopeError and accounts.reads.DatabaseAwayError."""
    task_id = _id_of(token)
    row = None if task_id is None else await _find(task_id)
    if row is None:
        raise TaskError(MISSING)
    if row.ended_at is not None:
        raise TaskError("This task has ended, and its token with it")
    if row.is_late:
        raise TaskError(f"This task's token has expired: it lasts {TASK_S:.0f} seconds")
    # The key may have been revoked since, or its owner may have gone.
    principal = await auth.still_open(row.api_key_id, row.organization_id)
    auth.require(principal, CALLBACK)
    granted = tuple(Granted(**one) for one in row.tools)
    return Work(
        id=row.id,
        principal=principal,
        request_id=row.request_id,
        step=row.step,
        tools=granted,
    )


async def while_open(work: Work, running: Awaitable[T]) -> T:
    """What `running` gives, unless the task ends before: then it is cancelled. Raises TaskError."""
    task = asyncio.ensure_future(running)
    try:
        while True:
            await asyncio.wait({task}, timeout=LOOK_S)
            if task.done():
                return task.result()
            if await _has_ended(work.id):
                raise TaskError("This task has ended, and its token with it")
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):  # its own end is nobody's answer now
                await task


def _token(task_id: UUID) -> str:
    return f"{auth.TASK_PREFIX}{task_id.hex}-{keyed(_PURPOSE, task_id.hex)}"


def _id_of(token: str) -> UUID | None:
    """The task that a token is of; None for one that we have not made."""
    text, _, seal = token.removeprefix(auth.TASK_PREFIX).partition("-")
    if not hmac.compare_digest(keyed(_PURPOSE, text).encode(), seal.encode()):
        return None
    return UUID(hex=text)


@off_loop
def _begin(**fields: Any) -> None:
    Task.objects.filter(expires_at__lt=clock.after(-KEEP_S)).delete()
    Task.objects.create(expires_at=clock.after(TASK_S), **fields)


@off_loop
def _end(task_id: UUID) -> None:
    Task.objects.filter(id=task_id, ended_at=None).update(ended_at=clock.now())


@off_loop
def _find(task_id: UUID) -> Any:
    late = Case(
        When(expires_at__lte=clock.now(), then=Value(True)),
        default=Value(False),
        output_field=BooleanField(),
    )
    return Task.objects.annotate(is_late=late).filter(id=task_id).first()


@off_loop
def _has_ended(task_id: UUID) -> bool:
    return not Task.objects.filter(Q(ended_at=None), id=task_id).exists()
