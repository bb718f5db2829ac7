"""What a tool is sent out with: the folders it may enter, and until when it has to be back."""

import threading
import time
from dataclasses import dataclass, field

from opscenter_connector.local.roots import Roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One call of one tool. It runs in a thread, so it is asked to stop and has to look."""

    roots: Roots
    until_s: float  # of time.monotonic
    called_back: threading.Event = field(default_factory=threading.Event)

    @property
    def left_s(self) -> float:
        return self.until_s - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Its time is up, or nobody wants the answer any more."""
        return self.called_back.is_set() or self.left_s <= 0
