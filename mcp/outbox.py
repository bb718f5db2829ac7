"""What is to be sent to a machine: calls, cancellations, and word of what it has asked."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from mcp import bell, calls, frames, handout
from mcp.bell import Ear, Note
from mcp.prompts import Prompts

_WORK = Note(kind=bell.WORK, body={})
_LAID = Note(kind="laid", body={})  # something lies in the tray
REASONS = {_WORK.kind, _LAID.kind}  # to look


class Outbox:
    """Of one session. `tray`: where calls are laid that need no look."""

    def __init__(self, holder: calls.Holder, ear: Ear, prompts: Prompts) -> None:
        self.tray = handout.Tray(holder, lambda: ear.hear(_LAID))
        self.told_to_stop: set[calls.Held] = set()
        self._holder = holder
        self._ear = ear
        self._prompts = prompts

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is due: a look left nothing, and what came since would be heard."""
        return self.tray.is_all and not self._ear.has_heard

    def hear_of_a_free_place(self) -> None:
        """A call has ended; one that waits may take its place."""
        if not self.tray.is_all:
            self._ear.hear(_WORK)

    async def due(self, notes: Sequence[Note]) -> list[frames.Frame]:
        """What is to be sent now, after these notes.

        Raises calls.SupersededError, accounts.reads.DatabaseAwayError.
        """
        try:
            return await self._found(notes)
        except BaseException:  # also where whoever asked has left: the next one is to hear of it
            self._hear_again(notes)
            raise

    async def _found(self, notes: Sequence[Note]) -> list[frames.Frame]:
        settled = await self._prompts.settled()
        if ready := self.tray.take():
            self._hear_again(note for note in notes if note != _LAID)  # they speak of other calls
            return [*settled, *handout.calls_of(ready)]
        self.tray.is_all = False  # so that a place that comes free meanwhile is heard of
        if new := _only_new(notes):  # where they are handed out, so is all that was there before
            leased = await handout.due_of(self._holder, new)
            self._ear.forget(_named(one.id) for one in leased.claimed)
            self.tray.is_all = leased.is_all
            if leased.claimed:
                return [*settled, *handout.calls_of(leased.claimed)]
        due = await handout.due(self._holder)
        self._ear.forget(_named(one.id) for one in due.claimed)
        told, self.told_to_stop = self.told_to_stop, set(due.to_stop)
        self.tray.is_all = not due.left
        return [*settled, *handout.frames_of(due, told)]

    def _hear_again(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._ear.hear(note)


def _named(call_id: UUID) -> Note:
    """The ring for a new call."""
    return Note(kind=bell.WORK, body={"call": call_id.hex})


def _only_new(notes: Sequence[Note]) -> set[UUID]:
    """The new calls that the notes name; empty if they say anything else."""
    named = [note.body.get("call") for note in notes]
    return {UUID(one) for one in named} if all(named) else set()
