"""The calls that wait for a person, and what has been said of each. Pure, but for the clock given.

The gateway holds the call meanwhile; this only knows what was asked and what to show. All that has
had no answer is said again in the next session.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opscenter_connector import frames

MAX_OPEN = 64  # the gateway's queue for one machine holds no more
MAX_GIVEN = 256  # approved here and not come yet; of some the caller has gone away
BEYOND_S = 10.0  # the gateway says itself when time is up; this is for when it cannot


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One exact call, as a person has to see it."""

    id: str
    fence: int
    digest: str
    server: str
    tool: str
    arguments: Mapping[str, Any] = field(repr=False)  # for the terminal; never for a log
    reason: str
    facts: tuple[tuple[str, str], ...] = ()  # what else decides: where it runs, what confines it


@dataclass(slots=True, kw_only=True)
class _Open:
    question: Question
    here_only: bool
    until_s: float | None = None  # None: the gateway has not said that it waits
    said: bool | None = None  # what a person said here

    @property
    def ask(self) -> frames.Ask:
        one = self.question
        return frames.Ask(
            id=one.id,
            fence=one.fence,
            digest=one.digest,
            reason=one.reason[:500],
            here_only=self.here_only,
        )

    @property
    def decide(self) -> frames.Decide:
        one = self.question
        return frames.Decide(id=one.id, digest=one.digest, approve=self.said is True)


class Questions:
    """Those that are open, by call."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._given: dict[str, str] = {}  # digests approved here, until their calls come

    @property
    def full(self) -> bool:
        return len(self._open) >= MAX_OPEN

    def put(self, question: Question, *, here_only: bool) -> frames.Ask:
        """It is asked now; a former question about the same call is none any more."""
        one = self._open[question.id] = _Open(question=question, here_only=here_only)
        return one.ask

    def waits(self, said: frames.Asked, *, now_s: float) -> Question | None:
        """The gateway has it: now a person may be shown it, if it is new to them."""
        one = self._open.get(said.id)
        if one is None or one.question.fence != said.fence:
            return None
        is_new = one.until_s is None
        one.until_s = now_s + said.remaining_ms / 1000
        return one.question if is_new else None

    def decide(self, id_: str, digest: str, *, approve: bool) -> frames.Decide | None:
        """A person has said so. Nothing, if that is no question any more."""
        one = self._open.get(id_)
        if one is None or one.question.digest != digest or one.said is not None:
            return None
        one.said = approve
        if approve:
            self._given[id_] = digest
            if len(self._given) > MAX_GIVEN:
                del self._given[next(iter(self._given))]
        return one.decide

    def settled(self, id_: str, digest: str, state: str) -> bool:
        """It is open no more. Whether it was."""
        one = self._open.get(id_)
        if state != "approved" and self._given.get(id_) == digest:
            del self._given[id_]
        if one is None or one.question.digest != digest:
            return False
        del self._open[id_]
        return True

    def withdrawn(self, id_: str, fence: int) -> bool:
        """The gateway will not have it asked. Whether it was."""
        one = self._open.get(id_)
        if one is None or one.question.fence != fence:
            return False
        del self._open[id_]
        return True

    def comes(self, id_: str) -> bool:
        """Its call is handed out again, so it is settled. Whether it was open."""
        return self._open.pop(id_, None) is not None

    def given(self, id_: str, digest: str) -> bool:
        """Whether a person approved this here."""
        return self._given.get(id_) == digest

    def used(self, id_: str) -> None:
        """It begins: what was given is spent."""
        self._given.pop(id_, None)

    def again(self) -> list[frames.FromConnector]:
        """What to say in a new session."""
        return [one.ask if one.said is None else one.decide for one in self._open.values()]

    def over(self, *, now_s: float) -> list[str]:
        """Those whose time is up, and of whose end nobody told."""
        late = [
            id_
            for id_, one in self._open.items()
            if one.until_s is not None and now_s > one.until_s + BEYOND_S
        ]
        for id_ in late:
            del self._open[id_]
            self._given.pop(id_, None)
        return late
