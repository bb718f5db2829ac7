"""What befalls the processes of the tunnel's chaos: killed, frozen, moved to another transport."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.real.chaos_processes import Fleet, Program
from tests.real.machine import Event, Machine

BETWEEN_S = (0.1, 0.8)  # two harms
FREEZE = 1.6  # leases: so the calls of who is frozen are given up meanwhile
TRANSPORTS = ("websocket", "polling")


class NobodyError(Exception):
    """Nobody of this kind works now, so nothing can be interrupted."""


class Harm:
    """One thing after another, chosen at random."""

    def __init__(
        self,
        seed: int,
        fleet: Fleet,
        machines: Sequence[Machine],
        reaper: Program,
        lease_s: float,
    ) -> None:
        self._chance = random.Random(seed)
        self._fleet, self._machines, self._reaper = fleet, machines, reaper
        self._freeze_s = FREEZE * lease_s
        self._thawing = ThreadPoolExecutor(8)
        self.done: Counter[str] = Counter()
        self.ended: list[Event] = []  # lines of journals: what had ended when its machine died
        self.at: list[float] = []  # monotonic
        self._kinds: list[tuple[int, str, Callable[[], None]]] = [
            (5, "gateways killed", self._kill_gateway),
            (5, "connectors killed", self._kill_machine),
            (4, "servers killed", self._kill_server),
            (2, "reapers killed", self._kill_reaper),
            (4, "connectors frozen", self._freeze_machine),
            (1, "gateways frozen", self._freeze_gateway),
            (3, "transports switched", self._switch),
        ]

    def go_on(self, for_s: float) -> None:
        """Do harm for so long, then let everybody come back."""
        until = time.monotonic() + for_s
        pause = threading.Event()
        while time.monotonic() < until:
            pause.wait(self._chance.uniform(*BETWEEN_S))
            weights = [weight for weight, _, _ in self._kinds]
            (_, name, harm) = self._chance.choices(self._kinds, weights)[0]
            at = time.monotonic()
            with suppress(NobodyError):
                harm()
                self.done[name] += 1
                self.at.append(at)
        self._thawing.shutdown()
        self._fleet.wait_until_all_are_up()
        for machine in self._machines:
            machine.wait_until_ready()

    def _machine(self) -> Machine:
        """One that works: who has not begun yet has nothing to lose."""
        ready = [machine for machine in self._machines if machine.is_ready]
        if not ready:
            raise NobodyError
        return self._chance.choice(ready)

    def _kill_gateway(self) -> None:
        self._fleet.kill_one(self._chance)

    def _kill_machine(self) -> None:
        self._again(self._machine())

    def _switch(self) -> None:
        """Killed, for a connector that stops as asked first waits for its calls."""
        machine = self._machine()
        self._again(machine, TRANSPORTS[machine.transport == TRANSPORTS[0]])

    def _again(self, machine: Machine, transport: str | None = None) -> None:
        machine.kill()
        self.ended += machine.ended()
        machine.start(transport)

    def _kill_server(self) -> None:
        """One that starts just now is spared: its pid is not known yet."""
        machine = self._machine()
        for name in machine.pids_of_servers():
            machine.kill_server(name)

    def _kill_reaper(self) -> None:
        self._reaper.kill()
        self._reaper.start()

    def _freeze_machine(self) -> None:
        machine = self._machine()
        machine.freeze()
        self._later(machine.thaw)

    def _freeze_gateway(self) -> None:
        worker = self._chance.choice([one for one in self._fleet.workers if one.is_up])
        worker.program.freeze()
        self._later(worker.program.thaw)

    def _later(self, thaw: Callable[[], None]) -> None:
        def wait_and_thaw() -> None:
            threading.Event().wait(self._freeze_s)
            thaw()

        self._thawing.submit(wait_and_thaw)
