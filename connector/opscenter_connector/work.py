"""The life of the calls at this machine. Pure: what has happened goes in, what to do comes out.

A call is written down before the gateway is asked whether it may begin, and its result is written
down before it is sent. Results are repeated until the gateway acknowledges them. All of that
outlives sessions; a session only carries it.
"""

import itertools
from dataclasses import replace

from opscenter_connector import frames, happenings
from opscenter_connector.actions import Action, Begin, Forget, Judge, Keep, Run, Stop
from opscenter_connector.held import (
    CANCELLED,
    INTERRUPTED,
    Held,
    Permission,
    not_begun,
    recovered,
    release,
)
from opscenter_connector.journal import MAX_REMEMBERED, End, Entry

MAX_HELD = 64  # with those whose result nobody has acknowledged: a MiB each
REPEAT_AFTER = 2  # ticks, each as long as a renewal: an answer takes a tenth of that


class Work:
    """Every call that is here, and the ids of those that have run here and may not again."""

    def __init__(self, *, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.stopping = False
        self._held: dict[str, Held] = {}
        self._ran: dict[str, None] = {}  # in their order
        self._numbers = itertools.count(1)

    def recover(self, entry: Entry) -> list[Action]:
        """From the journal."""
        if entry.over:
            self._remember(entry.id)
            return []
        end = entry.end or INTERRUPTED
        self._held[entry.id] = recovered(entry, end)
        return [happenings.Recovered(id=entry.id, outcome=end.outcome)]

    @property
    def running(self) -> int:
        return sum(held.running for held in self._held.values())

    @property
    def empty(self) -> bool:
        return not self._held

    # What the gateway says.

    def handed_out(self, call: frames.Call) -> list[Action]:
        if call.approval is not None:  # what was approved once begins once, also if it only reads
            call = replace(call, has_effects=True)
        known = self._held.get(call.id)
        if known is not None:
            return self._handed_out_again(known, call)
        if self.stopping:
            return [release(call, "the connector is stopping")]
        if self._in_flight() >= self.max_in_flight:
            return [release(call, "too many calls at once")]
        if len(self._held) >= MAX_HELD:
            return [release(call, "too many results are not acknowledged")]
        held = self._held[call.id] = Held(call=call)
        if call.id in self._ran:  # it ran, and its result is gone: never again
            held.began, held.end, held.kept = True, INTERRUPTED, True
            return self._begin(held)
        return [Judge(call=call)]

    def judged(self, id_: str, fence: int, *, by: str, refusal: str = "") -> list[Action]:
        """This machine lets it begin; or it gets `refusal` for an answer."""
        if (held := self._unjudged(id_, fence)) is None:
            return []
        held.by, held.refusal = by, refusal
        return self._begin(held)

    def asked(self, id_: str, fence: int) -> list[Action] | None:
        """A person must say first: it is given back until then. None: it is not here."""
        held = self._unjudged(id_, fence)
        return None if held is None else self._drop(held)

    def _unjudged(self, id_: str, fence: int) -> Held | None:
        held = self._at(id_, fence)
        return held if held is not None and not held.by and not held.began else None

    def _begin(self, held: Held) -> list[Action]:
        """Write it down, then ask; without effects there is nothing to remember."""
        call = held.call
        if call.has_effects:  # whatever else is said of it
            return [Begin(call=call, by=held.by)]
        if not call.begun:
            return self.written(*held.names)
        held.permission = Permission.ASKED
        said = frames.Started(id=call.id, fence=call.fence, remaining_ms=call.remaining_ms)
        return self.started(said)

    def _handed_out_again(self, held: Held, call: frames.Call) -> list[Action]:
        """Under a new fence: permission is asked anew. What runs goes on, what has ended stands."""
        if call.fence <= held.call.fence:
            return []
        if held.end is not None and not held.began:  # it only could not begin, and now it may
            return [*self._drop(held), *self.handed_out(call)]
        held.call, held.permission, held.ours, held.cancelled = call, Permission.NOTED, True, False
        held.asked_earlier = False
        if held.began:
            return self._begin(held)
        held.by = held.refusal = ""  # it may have been approved meanwhile, or not any more
        return [Judge(call=call)]

    def _in_flight(self) -> int:
        return sum(held.ours and held.end is None for held in self._held.values())

    def started(self, said: frames.Started) -> list[Action]:
        held = self._asked(said.id, said.fence)
        if held is None:
            return []
        held.permission = Permission.GRANTED
        if held.settled:
            return self._send(held)
        if held.running or held.end is not None:
            return []
        if held.cancelled:
            return self._end(held, CANCELLED)
        if held.refusal or self.stopping:
            return self._end(held, held.refused)
        held.run, held.began = next(self._numbers), True
        remaining_s = said.remaining_ms / 1000
        return [Run(call=held.call, number=held.run, remaining_s=remaining_s)]

    def denied(self, said: frames.Denied) -> list[Action]:
        held = self._asked(said.id, said.fence)
        if held is None:
            return []
        if held.asked_earlier and held.waits:
            return self._give_up(held)
        told = happenings.CallDenied(
            id=said.id, server=held.call.server, tool=held.call.tool, reason=said.reason
        )
        return [told, *self._drop(held)]

    def acknowledged(self, said: frames.Ack) -> list[Action]:
        held = self._at(said.id, said.fence)
        if held is None or not held.settled:
            return []
        return [happenings.CallDelivered(id=said.id, verdict=said.verdict), *self._drop(held)]

    def renewed(self, said: frames.Renewed) -> list[Action]:
        lost = [held for names in said.lost if (held := self._at(*names)) is not None]
        stop = [action for names in said.cancel for action in self.cancel(*names)]
        return stop + [action for held in lost for action in self._lose(held)]

    def _lose(self, held: Held) -> list[Action]:
        """Its lease has ended. What has begun with effects is finished and handed in."""
        if held.end is not None or (held.running and held.call.has_effects):
            held.ours = False
            return []
        return self._give_up(held) if held.asked_earlier and held.waits else self._drop(held)

    def _give_up(self, held: Held) -> list[Action]:
        """The yes to an older `start` may have been cut off: say that nothing began here."""
        held.permission, held.ours = Permission.GRANTED, False
        return self._end(held, not_begun("the connection was cut"))

    def cancel(self, id_: str, fence: int) -> list[Action]:
        held = self._at(id_, fence)
        if held is None or held.end is not None:
            return []
        held.cancelled = True
        if held.run is not None:
            return [Stop(number=held.run)]
        if held.permission is Permission.NOTED:
            return [release(held.call, "cancelled before it began"), *self._drop(held)]
        return []  # the answer to `start` is under way

    # What happens here.

    def written(self, id_: str, fence: int, *, refusal: str = "") -> list[Action]:
        """`s` is on disk; or it cannot get there, and the call gets `refusal` for an answer."""
        held = self._at(id_, fence)
        if held is None or held.permission is not Permission.NOTED:
            return []
        held.refusal = held.refusal or refusal
        held.permission = Permission.ASKED
        return [frames.Start(id=id_, fence=fence)]

    def ended(self, id_: str, number: int, end: End) -> list[Action]:
        held = self._held.get(id_)
        if held is None or held.run != number:
            return []  # dropped meanwhile
        return self._end(held, end)

    def kept(self, id_: str, end: End) -> list[Action]:
        """`d` is on disk, or cannot get there; the gateway gets the result in either case."""
        held = self._held.get(id_)
        if held is None or held.end is not end:
            return []
        held.kept = True
        return self._send(held) if held.settled else []

    def progressed(
        self, id_: str, progress: float, total: float | None, message: str | None
    ) -> list[Action]:
        held = self._held.get(id_)
        if held is None or held.permission is not Permission.GRANTED or not held.ours:
            return []
        return [
            frames.Progress(
                id=id_, fence=held.call.fence, progress=progress, total=total, message=message
            ),
            happenings.CallProgress(id=id_, progress=progress, total=total, message=message or ""),
        ]

    def reopened(self) -> list[Action]:
        """A session is new: say again all that has had no answer."""
        actions: list[Action] = []
        for held in self._held.values():
            if held.permission is Permission.ASKED:
                held.asked_earlier = True
                actions.append(frames.Start(id=held.call.id, fence=held.call.fence))
            elif held.settled:
                actions += self._send(held)
        return self._renewals() + actions

    def tick(self) -> list[Action]:
        """As often as leases are to be renewed."""
        actions = self._renewals()
        for held in self._held.values():
            if held.settled and held.sent_ago is not None:
                held.sent_ago += 1
                if held.sent_ago >= REPEAT_AFTER:
                    actions += self._send(held)
        return actions

    def stop(self) -> list[Action]:
        """Take no more calls, and give back what has not been asked for."""
        self.stopping = True
        early = [held for held in self._held.values() if self._not_asked(held)]
        return [
            action
            for held in early
            for action in (release(held.call, "the connector is stopping"), *self._drop(held))
        ]

    def abandon(self) -> list[Action]:
        """The end: nobody will know how it ends what runs now, and what waits has not begun."""
        actions: list[Action] = []
        for held in self._held.values():
            if held.run is not None:
                actions += [Stop(number=held.run), *self._end(held, INTERRUPTED)]
            elif held.waits:
                actions += self._end(held, not_begun("the connector has stopped"))
        return actions

    def _not_asked(self, held: Held) -> bool:
        return held.permission is Permission.NOTED and held.waits

    def _renewals(self) -> list[Action]:
        names = [held.names for held in self._held.values() if held.ours]
        batches = [names[at : at + frames.MAX_HELD] for at in range(0, len(names), frames.MAX_HELD)]
        return [frames.Renew(calls=tuple(batch)) for batch in batches]

    def _end(self, held: Held, end: End) -> list[Action]:
        held.run, held.end = None, end
        if not held.call.has_effects:
            held.kept = True
            return self._send(held) if held.settled else []
        return [Keep(id=held.call.id, fence=held.call.fence, end=end)]

    def _send(self, held: Held) -> list[Action]:
        held.sent_ago = 0
        return [held.result]

    def _drop(self, held: Held) -> list[Action]:
        id_, fence = held.names
        del self._held[id_]
        stop: list[Action] = [] if held.run is None else [Stop(number=held.run)]
        if not held.call.has_effects:
            return stop
        if held.began:
            self._remember(id_)
        return [*stop, Forget(id=id_, fence=fence, ran=held.began)]

    def _remember(self, id_: str) -> None:
        self._ran[id_] = None
        if len(self._ran) > MAX_REMEMBERED:
            del self._ran[next(iter(self._ran))]

    def _at(self, id_: str, fence: int) -> Held | None:
        held = self._held.get(id_)
        return held if held is not None and held.call.fence == fence else None

    def _asked(self, id_: str, fence: int) -> Held | None:
        held = self._at(id_, fence)
        return held if held is not None and held.permission is Permission.ASKED else None
