"""The processes of the chaos: started, killed with -9 and started anew, each by its own pid."""

import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests import environment, gateway
from tests.environment import ROOT
from tests.real.warm import Life, Warm

START_S = 60  # a loaded machine needs ten seconds to import Django four times at once
STOP_S = 35  # a little more than a server allows its streams
COMMAND_S = 120  # migrations on a busy machine
CONNECT_S = 5
SPARED_AFTER = 3  # kills, among which the first worker may be too
RESTART_S = (0.1, 1.5)  # after a kill, as whoever looks after the workers takes to notice


class Program:
    """One process with a log of its own, that may be killed and started again.

    `warm`: each life, of a command of manage.py, is forked from a process that has imported it.
    """

    def __init__(
        self, *arguments: str, settings: Mapping[str, str], log: Path, warm: bool = False
    ) -> None:
        self._arguments = arguments
        self._settings = settings
        self._log = log
        self._warm: Warm | None = None
        self._is_warm = warm
        self._process: subprocess.Popen[bytes] | Life | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.end()

    def start(self) -> None:
        env = environment.child(**self._settings)
        with self._log.open("ab") as output:
            if self._is_warm:
                if self._warm is None:
                    self._warm = Warm(sys.executable, "server", cwd=ROOT, env=env, output=output)
                self._process = self._warm.life(self._arguments)
                return
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its life now."""
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """The log of all its lives."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """With -9, in the middle of whatever it does."""
        assert self._process is not None
        assert self.is_alive, f"it had died by itself:\n{self.said()[-4000:]}"
        self._process.kill()
        self._process.wait(STOP_S)

    def freeze(self) -> None:
        """As a machine that swaps, or a process that collects its garbage."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stood, if it is the same process still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        if self._process is not None and self.is_alive:
            self._process.terminate()

    def end(self) -> None:
        """Stop it, if need be with force."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        if self._warm is not None:
            self._warm.end()


class Worker:
    """A gateway process and the port that it has in all its lives."""

    def __init__(
        self, number: int, settings: Mapping[str, str], folder: Path, *, warm: bool = False
    ) -> None:
        self._port = gateway.free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        var = folder / f"worker-{number}"
        var.mkdir()
        own = {"OPSCENTER_PORT": str(self._port), "OPSCENTER_VAR_DIR": str(var)}
        self.program = Program(
            *("manage.py", "serve", "--no-exporter"),
            settings={**settings, **own},
            log=var / "log",
            warm=warm,
        )
        self.is_up = False

    def start(self) -> None:
        """Return when it listens."""
        self.program.start()
        self.wait_until_it_listens()

    def wait_until_it_listens(self) -> None:
        def is_there() -> bool:
            assert self.program.is_alive, self.program.said()[-4000:]
            return listens(self._port)

        gateway.eventually(is_there, START_S)
        self.is_up = True


class Fleet:
    """Several workers on one database, of which one or the other is killed now and then."""

    def __init__(
        self,
        count: int,
        settings: Mapping[str, str],
        folder: Path,
        *,
        spare: bool = True,
        warm: bool = False,
    ) -> None:
        self.workers = [Worker(number, settings, folder, warm=warm) for number in range(count)]
        self._spare = spare
        self.kills = 0
        self._restarts: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        self._restarts = [self._pool.submit(worker.start) for worker in self.workers]
        self.wait_until_all_are_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        for worker in self.workers:
            worker.program.ask_to_stop()
        for worker in self.workers:
            worker.program.end()

    def address(self) -> str:
        """A worker that is up, as far as anybody knows."""
        return random.choice([worker.url for worker in self.workers if worker.is_up])

    def kill_one(self, chance: random.Random) -> None:
        """Kill a worker, and let it be started anew; one at least is always left."""
        victim = self._victim(chance)
        victim.is_up = False
        victim.program.kill()
        self.kills += 1
        self._restarts.append(self._pool.submit(_restart, victim, chance.uniform(*RESTART_S)))

    def wait_until_all_are_up(self) -> None:
        """Raises what kept one of them from starting."""
        for restart in self._restarts:
            restart.result(START_S)

    def _victim(self, chance: random.Random) -> Worker:
        def all_but_one() -> list[Worker] | None:
            up = [worker for worker in self.workers if worker.is_up]
            return up if len(up) > 1 else None

        up = gateway.eventually(all_but_one, START_S)
        # One outlives the rest: dead ones are swept while there is work, and not only after it.
        spared = self.workers[0] if self._spare and self.kills >= SPARED_AFTER else None
        return chance.choice([worker for worker in up if worker is not spared])


def _restart(worker: Worker, after_s: float) -> None:
    threading.Event().wait(after_s)
    worker.start()


class LagoProcess:
    """The stand-in for Lago as a process, told over its own back door how to behave."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._port = gateway.free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        arguments = ("-m", "tests.lago", "--port", str(self._port), "--misbehave", str(seed))
        self.program = Program(*arguments, settings={}, log=folder / "lago.log")
        self._http = httpx.Client(base_url=self.url, timeout=START_S, trust_env=False)

    def __enter__(self) -> Self:
        self.program.start()
        gateway.eventually(lambda: listens(self._port), START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._http.close()
        self.program.end()

    def state(self) -> Any:
        """How many events it has, what was wrong with requests, and so on."""
        return self._http.get("/_state").json()

    def events(self) -> list[dict[str, Any]]:
        """All that it keeps."""
        events: list[dict[str, Any]] = self._http.get("/_events").json()
        return events

    def behave(self, **behaviour: Any) -> None:
        """From now on like this; well, if nothing is said."""
        self._http.post("/_behaviour", json=behaviour).raise_for_status()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_S).close()
    except OSError:
        return False
    return True


def command(*arguments: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program of ours from its start to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment.child(**settings),
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
    )
