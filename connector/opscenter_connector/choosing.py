"""Which transport to try next, and when to climb back from polling to the WebSocket."""

from opscenter_connector import backoff
from opscenter_connector.sessions import Meaning, SessionEndError
from opscenter_connector.settings import Transport

MOST_FLAPS = 3  # short sessions or failed attempts in a row, before the other transport is tried
CLIMB_FIRST_S = 60.0
CLIMB_MOST_S = 1800.0
PROVEN_S = 60.0  # a WebSocket that has held this long is trusted as at first
# However long the gateway was away, its machines are back so soon after: a person waits for a tool.
# A thousand of them are then 400 attempts a second, of which each is a connection and a line.
AWAY_MOST_S = 5.0
LATER_S = 5.0  # at least, when the gateway says that it is too often


class Choice:
    """Remembers how the WebSocket has done here."""

    def __init__(self, wanted: Transport) -> None:
        self._auto = wanted is Transport.AUTO
        self.transport = "polling" if wanted is Transport.POLLING else "websocket"
        self.why = ""  # it is polling
        self._flaps = 0
        self._climbs = 0
        self._failures = 0

    @property
    def climbs(self) -> bool:
        """Polling, because the WebSocket did not work."""
        return self._auto and self.transport == "polling"

    @property
    def climb_in_s(self) -> float:
        return float(min(CLIMB_MOST_S, CLIMB_FIRST_S * 2 ** min(self._climbs, 10)))

    def climbed(self) -> None:
        """The WebSocket has taken over."""
        self.transport = "websocket"
        self._climbs += 1  # taken back once it has proven itself

    def not_climbed(self) -> None:
        self._climbs += 1

    def ended(self, end: SessionEndError, *, held_s: float | None) -> float:
        """A session of the current transport ended, or None: an attempt. How long to pause."""
        flapped = held_s is None or held_s < backoff.STABLE_S
        if self._auto:
            self._judge(end, held_s, flapped=flapped)
        self._failures = self._failures + 1 if flapped else 0
        pause_s = backoff.delay_s(self._failures, AWAY_MOST_S)
        if end.meaning is Meaning.LATER:
            pause_s = max(pause_s + LATER_S, end.retry_after_s)
        return pause_s

    def _judge(self, end: SessionEndError, held_s: float | None, *, flapped: bool) -> None:
        if self.transport == "polling":
            if held_s is None:  # polling does not work either, so it was not the WebSocket
                self.transport = "websocket"
            return
        if held_s is not None and held_s >= PROVEN_S:
            self._climbs = 0
        if not flapped:
            self._flaps = 0
        elif end.is_cut:
            self._flaps += 1
        if end.meaning is Meaning.NO_SOCKET or end.stalled or self._flaps >= MOST_FLAPS:
            self.transport, self.why = "polling", end.reason
            self._flaps = MOST_FLAPS - 1  # one more, and it is polling again
            self._failures = 0
