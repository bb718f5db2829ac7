"""A request as a tree: its steps, the tools that each has called, and when (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from billing.tokens import TokenCounts
from opscenter.timeline import Bar, Tick, Whole
from proxy.wire.sse import STALL_S

FEW_CALLS = 3  # of a step: shown without being asked for
FEW_LINES = 40  # of a tree: as many fit on a screen or two, so that all may be open
STALL_MS = int(STALL_S * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One question to an upstream: a row of the ledger."""

    id: UUID
    agent: str
    requested_model: str
    target_model: str
    served_model: str
    upstream: str
    moved_from: str
    attempts: int
    state: str
    status: int | None
    error_type: str
    stop_reason: str
    flags: str
    counts: TokenCounts
    cost_nano: int
    called: int  # tools, the client's own among them
    began: datetime
    ended: datetime | None
    first_byte_ms: int | None
    longest_silence_ms: int | None

    @property
    def answered(self) -> datetime | None:
        """When the upstream said its first word; where nobody noted it, it never only waited."""
        if self.first_byte_ms is not None:
            return self.began + timedelta(milliseconds=self.first_byte_ms)
        return self.began if self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call, with what became of it in words."""

    id: UUID
    step: UUID | None
    server: str
    tool: str
    machine: str
    state: str
    made: datetime
    started: datetime | None
    finished: datetime | None
    approval: str = ""
    why: str = ""  # it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """All calls of one step, whether they are shown or not."""

    calls: int
    failed: int
    running: int
    first: datetime
    last: datetime | None  # None: none has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """All rows of the ledger that belong to the request, whether they are shown or not."""

    steps: int
    failed: int
    running: int
    counts: TokenCounts
    cost_nano: int
    began: datetime
    ended: datetime | None  # None: none has ended
    corrections: int = 0  # rows that correct others; their counts and cost are in the sums
    corrected_nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the tables hold of a request, as far as it is shown."""

    root_id: UUID
    marked: UUID  # the row whose page it is
    sums: Sums
    steps: Sequence[Step]  # the first ones
    beyond: Step | None = None  # the marked one, where it is not among them
    tallies: Mapping[UUID | None, Tally] = field(default_factory=dict)  # by step
    calls: Sequence[Call] = ()  # the first ones of each step that is shown
    sees_calls: bool = True  # whoever looks may


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A call in the tree."""

    call: Call
    bar: Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A step in the tree; without one it holds the calls of which no step is known."""

    step: Step | None = None
    number: int = 0  # 0: it stands behind steps that are left out
    is_marked: bool = False
    bar: Bar | None = None
    tally: Tally | None = None
    calls_bar: Bar | None = None  # from the first of its calls to the end of the last
    leaves: Sequence[Leaf] = ()
    is_open: bool = False  # its calls are shown without being asked for

    @property
    def more_calls(self) -> int:
        """How many of its calls are left out."""
        return self.tally.calls - len(self.leaves) if self.tally else 0

    @property
    def is_few(self) -> bool:
        """Whether its calls need no line that sums them up."""
        return self.tally is not None and self.tally.calls == len(self.leaves) <= FEW_CALLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A request with all that was done for it."""

    found: Found
    nodes: Sequence[Node]
    beyond: Node | None
    stray: Node | None  # calls of which no step is known
    whole: Whole
    ticks: Sequence[Tick]
    calls: int
    failed_calls: int
    is_running: bool

    @property
    def more_steps(self) -> int:
        """How many steps are left out."""
        shown = len(self.nodes) + (self.beyond is not None)
        return max(self.found.sums.steps - shown, 0)

    @property
    def has_root(self) -> bool:
        """Whether the row of the request itself is there."""
        return any(step.id == self.found.root_id for step in self.found.steps)

    @property
    def is_plain(self) -> bool:
        """Whether it is a request that was only relayed."""
        sums = self.found.sums
        return self.has_root and sums.steps == 1 and not (self.calls or sums.corrections)


def grown(found: Found, now: datetime) -> Tree:
    """The tree of what was found. What goes on lasts until `now`."""
    found = _gathered(found)
    tallies = found.tallies.values()
    sums = found.sums
    is_running = sums.running > 0 or any(one.running for one in tallies)
    ends = [sums.ended, *(one.last for one in tallies), now if is_running else None]
    whole = Whole(start=sums.began, end=max([sums.began, *filter(None, ends)]))
    has_room = sums.steps + sum(one.calls for one in tallies) <= FEW_LINES
    nodes = [
        _node(found, step, whole, number=number, has_room=has_room)
        for number, step in enumerate(found.steps, 1)
    ]
    beyond = found.beyond
    return Tree(
        found=found,
        nodes=nodes,
        beyond=_node(found, beyond, whole, has_room=has_room) if beyond else None,
        stray=_node(found, None, whole, has_room=has_room) if None in found.tallies else None,
        whole=whole,
        ticks=whole.ticks(),
        calls=sum(one.calls for one in tallies),
        failed_calls=sum(one.failed for one in tallies),
        is_running=is_running,
    )


def _gathered(found: Found) -> Found:
    """With the calls of steps whose rows are gone among those of which no step is known.

    Not where steps are left out: theirs may be among those.
    """
    known = {step.id for step in found.steps}
    lost = {step for step in found.tallies if step is not None and step not in known}
    if not lost or found.beyond or found.sums.steps > len(found.steps):
        return found
    tallies: dict[UUID | None, Tally] = {
        step: one for step, one in found.tallies.items() if step in known
    }
    tallies[None] = _joined([one for step, one in found.tallies.items() if step not in known])
    calls = [replace(one, step=None) if one.step in lost else one for one in found.calls]
    return replace(found, tallies=tallies, calls=calls)


def _joined(tallies: Sequence[Tally]) -> Tally:
    ends = [one.last for one in tallies if one.last]
    return Tally(
        calls=sum(one.calls for one in tallies),
        failed=sum(one.failed for one in tallies),
        running=sum(one.running for one in tallies),
        first=min(one.first for one in tallies),
        last=max(ends) if ends else None,
    )


def _node(
    found: Found, step: Step | None, whole: Whole, *, number: int = 0, has_room: bool
) -> Node:
    step_id = step.id if step else None
    tally = found.tallies.get(step_id)
    is_marked = step_id == found.marked
    return Node(
        step=step,
        number=number,
        is_marked=is_marked,
        bar=whole.bar(step.began, step.ended, step.answered) if step else None,
        tally=tally,
        calls_bar=whole.bar(tally.first, None if tally.running else tally.last, tally.first)
        if tally
        else None,
        leaves=[_leaf(call, whole) for call in found.calls if call.step == step_id],
        is_open=has_room or is_marked or bool(tally and tally.failed),
    )


def _leaf(call: Call, whole: Whole) -> Leaf:
    return Leaf(call=call, bar=whole.bar(call.made, call.finished, call.started))
