"""Lives of the queue that chance alone would seldom make: zombies, liars, sessions that cross."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from mcp import calls
from mcp.calls import Held
from mcp.models import Connector
from mcp.tests.queue_machine import OUTCOMES, Honest
from mcp.tests.queues import holder_of


class QueueMachine(Honest):
    """Connectors, honest and not."""

    def _begun(self, of: int, effects: bool = True) -> Held | None:
        """A call that this connector holds and has begun."""
        self.enqueue(of, effects, 60)
        call_id = list(self.lives)[-1]
        self._claim(self.connectors[of], 64)
        fence = self.lives[call_id].fence
        self._start(holder_of(self.connectors[of]), call_id, fence)
        return (call_id, fence) if fence in self.lives[call_id].started else None

    @rule(of=st.integers(0, 2), effects=st.booleans(), begins=st.booleans())
    def zombie_returns(self, of: int, effects: bool, begins: bool) -> None:
        """A holder falls silent, the call is handed out again, to itself, and it goes on."""
        if (held := self._begun(of, effects)) is None:
            return
        self.clock.moves(calls.LEASE_S)
        self.reap()
        self._claim(self.connectors[of], 64)
        call_id, fence = held
        if begins:
            self._start(holder_of(self.connectors[of]), call_id, self.lives[call_id].fence)
        for _ in range(2):
            self._start(holder_of(self.connectors[of]), call_id, fence)
            self._finish(holder_of(self.connectors[of]), call_id, fence, OUTCOMES[0])
        self._finish(holder_of(self.connectors[of]), call_id, fence, OUTCOMES[1])

    @rule(of=st.integers(0, 2))
    def more_than_fit(self, of: int) -> None:
        for _ in range(self.connectors[of].max_in_flight + 1):
            self.enqueue(of, True, 60)
        self._claim(self.connectors[of], 64)

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), of=st.integers(0, 2), more=st.integers(-1, 1))
    def byzantine_submits(self, data: st.DataObject, of: int, more: int) -> None:
        call_id, fence = data.draw(st.sampled_from(self.seen[-4:]))
        holder = holder_of(self.connectors[of])
        self._finish(holder, call_id, fence + more, OUTCOMES[0])
        self._start(holder, call_id, fence + more)

    @rule(of=st.integers(0, 2), other=st.integers(0, 2))
    def another_submits(self, of: int, other: int) -> None:
        if (held := self._begun(of)) is not None:
            self._finish(holder_of(self.connectors[other]), *held, OUTCOMES[0])

    @rule(of=st.integers(0, 2), silent=st.booleans())
    def cancelled_while_it_runs(self, of: int, silent: bool) -> None:
        if (held := self._begun(of)) is None:
            return
        if silent:
            self.clock.moves(calls.LEASE_S)
            self.reap()
        self._release(*held)
        self._cancel(held[0])

    @rule(of=st.integers(0, 2))
    def begins_what_was_cancelled(self, of: int) -> None:
        call_id = self._handed_out(of, 60)
        self._cancel(call_id)
        self._start(holder_of(self.connectors[of]), call_id, self.lives[call_id].fence)

    @rule(of=st.integers(0, 2), late_s=st.sampled_from([5, 15]), renews=st.booleans())
    def begins_late(self, of: int, late_s: int, renews: bool) -> None:
        """After its deadline, or after its lease."""
        call_id = self._handed_out(of, 5 if late_s == 5 else 60)
        self.clock.moves(late_s)
        if renews:
            self.renew(of)
        self._start(holder_of(self.connectors[of]), call_id, self.lives[call_id].fence)

    @rule(of=st.integers(0, 2))
    def second_session_opens(self, of: int) -> None:
        """The newest rules; the calls stay, and the older may still hand in."""
        held, old = self._begun(of), holder_of(self.connectors[of])
        Connector.objects.filter(id=old.connector_id).update(epoch=old.epoch + 1)
        call_id, fence = self.seen[-1] if self.seen else (old.connector_id, 1)
        for verb in (
            lambda: calls.claim(old, 1),
            lambda: calls.start(old, call_id, fence),
            lambda: calls.renew(old, [(call_id, fence)]),
            lambda: calls.release(old, call_id, fence),
            lambda: calls.note_progress(old, call_id, fence, {"progress": 1}),
        ):
            try:
                self._doing(verb)
            except calls.SupersededError:
                self._whole = True
            else:
                raise AssertionError("an older session still acts")
        if held is not None:
            self._finish(old, *held, OUTCOMES[0])

    @rule(of=st.integers(0, 2))
    def asks_at_the_deadline(self, of: int) -> None:
        self.enqueue(of, True, 5)
        self.clock.moves(5)
        self._claim(self.connectors[of], 64)
