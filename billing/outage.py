"""How long Lago has not answered, told once it lasts and once it is over."""

import logging
from dataclasses import dataclass, field

from billing import alarms

log = logging.getLogger(__name__)

LASTS_S = 300.0  # a restart of Lago is over by then, and an operator need not look
# Tries lie five minutes apart at most. After twice that without one, nothing was waiting, and
# nobody knows whether Lago was there.
FORGOTTEN_S = 600.0
SUBJECT = "Lago"


@dataclass(slots=True)
class Outage:
    """Failures in a row, as one exporter sees them. Times are those of a monotonic clock."""

    _since_s: float | None = field(default=None, init=False)
    _last_s: float = field(default=0.0, init=False)
    _is_clear: bool = field(default=False, init=False)  # no alarm of an exporter before us is left

    def failed(self, text: str, *, now_s: float) -> None:
        """Lago did not answer. Sounds the alarm if that has lasted."""
        if self._since_s is None or now_s - self._last_s > FORGOTTEN_S:
            self._since_s = now_s
        self._last_s = now_s
        if now_s - self._since_s > LASTS_S:
            self._is_clear = False
            alarms.sound(alarms.Code.LAGO_AWAY, SUBJECT, text)

    def delivered(self, count: int) -> None:
        """Lago took events. What says that it is away goes."""
        if not self._is_clear:
            alarms.resolve(alarms.Code.LAGO_AWAY, SUBJECT)
            self._is_clear = True
        if self._since_s is not None:
            log.info("export: Lago is back, %d delivered", count)
            self._since_s = None
