"""Answers that are given in turns, as rows: a retry finds its own at whichever process it arrives.

Every change is one conditional UPDATE, and goes through the group-commit writer.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Exists, OuterRef, Q

from accounts.reads import DatabaseAwayError, off_loop
from billing import workers, writer
from billing.models import Worker
from billing.writer import Statement, WriterUnavailableError
from mcp import clock
from proxy.models import GivenAnswer, GivenPart

State = GivenAnswer.State

KEEP_S = 60.0  # after its end an answer is there for a retry
FLUSH_S = 0.25  # so old may be what others have not been told: less is more rows
PURGE_S = 30.0  # between two looks for old rows; they are of no use, but somebody's words
GONE_S = 2 * KEEP_S  # after its end a row is deleted: whoever began to read it is done
PARTS_AT_ONCE = 64  # in one look
_READERS = 2  # a few clients that look for an answer elsewhere must not keep others from their keys

_readers = ThreadPoolExecutor(_READERS, thread_name_prefix="given")


class BrokenOffError(Exception):
    """The answer was begun and broke off, and what it did must not be done again."""


class TakenOverError(Exception):
    """Another process has taken this one for dead, and gives the answer now."""


BROKEN_OFF = (
    "This answer was already begun, and has broken off or grown too long to be joined. Its tools"
    " may have run and are not run again: look at what they have done, then ask on."
)
TAKEN_OVER = "Another process of this gateway has taken this answer over."
_AWAY = "The gateway's database does not answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Which request an answer is given for."""

    digest: str  # of all that are the same
    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An answer as its rows show it."""

    state: str
    has_effects: bool
    beat: int | None  # of its process
    parts: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A row, and what becomes of it if it is still as it was."""

    claim: Claim
    values: Mapping[str, Any]
    where: Mapping[str, Any] = field(default_factory=dict)


async def claim(wanted: Claim) -> Claim:
    """Whose the answer is: the claim that is wanted, or another one that was there before.

    Raises DatabaseAwayError.
    """
    try:
        request_id: UUID = await writer.current().write(_CLAIM, wanted)
    except WriterUnavailableError as error:
        raise DatabaseAwayError(_AWAY) from error
    return Claim(digest=wanted.digest, request_id=request_id)


async def act(mine: Claim) -> None:
    """Say that something is done now that must not be done twice.

    Raises TakenOverError, where nothing must be done, and DatabaseAwayError.
    """
    change = _Change(claim=mine, values={"has_effects": True}, where={"state": State.RUNNING})
    try:
        if not await writer.current().write(_CHANGE, change):
            raise TakenOverError(TAKEN_OVER)
    except WriterUnavailableError as error:
        raise DatabaseAwayError(_AWAY) from error


def end(one: Claim, state: State, *, has_done_nothing: bool = False) -> None:
    """It has ended, or its process has: it is written soon."""
    values = {"state": state, "ended_at": clock.now()}
    if has_done_nothing:
        values["has_effects"] = False
    change = _Change(claim=one, values=values, where={"state": State.RUNNING})
    writer.current().put(_CHANGE, change)


def follow(one: Claim) -> None:
    """Let its process know that somebody listens here."""
    writer.current().put(_CHANGE, _Change(claim=one, values={"followed_at": clock.now()}))


class Copy:
    """The answer that is given here, written down in parts for other processes."""

    def __init__(self, mine: Claim, headers: Mapping[str, str]) -> None:
        self._request_id = mine.request_id
        self._number = 0
        self._head = msgspec.json.encode(headers)
        self._blocks: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, block: bytes) -> None:
        """Written soon, with what comes after it."""
        self._blocks.append(block)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Have written what is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._blocks:
            if not self._number:  # a head alone would be the beginning of nothing
                self._put(self._head)
            self._put(b"".join(self._blocks))
            self._blocks = []

    def _put(self, data: bytes) -> None:
        part = GivenPart(request_id=self._request_id, number=self._number, data=data)
        writer.current().put(_PART, part)
        self._number += 1


def _claimed(wanted: Sequence[Claim]) -> list[UUID]:
    return [_claimed_one(one) for one in wanted]


def _claimed_one(wanted: Claim) -> UUID:
    begun = {"request_id": wanted.request_id, "worker": workers.OWN_ID}
    row = GivenAnswer(digest=wanted.digest, **begun)
    GivenAnswer.objects.bulk_create([row], ignore_conflicts=True)
    is_free = Q(state=State.BROKEN, has_effects=False) | Q(ended_at__lt=clock.after(-KEEP_S))
    anew = {"state": State.RUNNING, "has_effects": False, "begun_at": clock.now()}
    known = GivenAnswer.objects.filter(digest=wanted.digest)
    known.filter(is_free).update(**begun, **anew, followed_at=None, ended_at=None)
    return known.values_list("request_id", flat=True).get()


def _changed(changes: Sequence[_Change]) -> list[int]:
    return [
        GivenAnswer.objects.filter(
            digest=one.claim.digest, request_id=one.claim.request_id, **one.where
        ).update(**one.values)
        for one in changes
    ]


def _written(parts: Sequence[GivenPart]) -> None:
    GivenPart.objects.bulk_create(parts)


def _names(digests: Iterable[str]) -> list[str]:
    return [f"given:{digest}" for digest in digests]


# A claim whose client has left is ended by what follows it in the same batch; parts come before
# the end that says that there are no more.
_CLAIM = Statement(20, _claimed, lambda rows: _names(one.digest for one in rows))
_PART = Statement(21, _written)
_CHANGE = Statement(22, _changed, lambda rows: _names(one.claim.digest for one in rows))


def _look(one: Claim, after: int) -> Look | None:
    """The answer with its parts from that number on; None where it is there no more."""
    row = GivenAnswer.objects.filter(digest=one.digest, request_id=one.request_id).first()
    if row is None:
        return None
    parts = GivenPart.objects.filter(request_id=one.request_id, number__gte=after)
    beat = Worker.objects.filter(id=row.worker).values_list("beat", flat=True).first()
    data = parts.order_by("number").values_list("data", flat=True)[:PARTS_AT_ONCE]
    return Look(
        state=row.state,
        has_effects=row.has_effects,
        beat=beat,
        parts=[bytes(one) for one in data],
    )


def _is_followed(one: Claim, within_s: float) -> bool:
    """Whether another process has followed it lately."""
    row = GivenAnswer.objects.filter(digest=one.digest, request_id=one.request_id)
    return row.filter(followed_at__gte=clock.after(-within_s)).exists()


def _purge() -> None:
    """End what processes that are no more have left, and delete what ended long ago."""
    lives = Worker.objects.filter(id=OuterRef("worker"))
    left = GivenAnswer.objects.filter(
        ~Exists(lives), state=State.RUNNING, begun_at__lt=clock.after(-KEEP_S)
    )
    left.update(state=State.BROKEN, ended_at=clock.now())
    GivenAnswer.objects.filter(ended_at__lt=clock.after(-GONE_S)).delete()
    theirs = GivenAnswer.objects.filter(request_id=OuterRef("request_id"))
    GivenPart.objects.filter(~Exists(theirs)).delete()


look = off_loop(_look, _readers)
is_followed = off_loop(_is_followed, _readers)
purge = off_loop(_purge, _readers)
