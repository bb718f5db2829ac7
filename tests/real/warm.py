"""A program whose lives are forked from a process that has imported all of it.

Python takes a second or two of a core to import Django or the MCP SDK. Where one process or another
is killed every second, that is most of what two cores do, and not what a test of the tunnel is
about. What such a life runs, from its `main` on, is the program as it is.

As a program: `python warm.py KIND IN OUT`, in the environment of the program. Every line read from
the descriptor IN is its arguments, and one life; its pid goes to OUT.
"""

import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

Main = Callable[[list[str]], int | None]
START_S = 60  # imports, on a busy machine


class Life:
    """One process, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle: int | None = None
        with suppress(ProcessLookupError):  # it has ended already
            self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it lives. How it ended nobody is told."""
        return None if self._is_there(0) else 0

    def wait(self, timeout: float) -> None:
        if self._is_there(timeout):
            raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout)

    def send_signal(self, number: int) -> None:
        if self._handle is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _is_there(self, within_s: float) -> bool:
        if self._handle is not None and select.select([self._handle], [], [], within_s)[0]:
            os.close(self._handle)
            self._handle = None
        return self._handle is not None


class Warm:
    """The process that has imported the program, and forks."""

    def __init__(
        self, python: str | Path, kind: str, *, cwd: Path, env: dict[str, str], output: IO[bytes]
    ) -> None:
        asked, self._asking = os.pipe()
        told, telling = os.pipe()
        self._told = os.fdopen(told)
        self._process = subprocess.Popen(
            [python, "-P", __file__, kind, str(asked), str(telling)],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[asked, telling],
        )
        os.close(asked)
        os.close(telling)

    def life(self, arguments: Sequence[str]) -> Life:
        """Begin one."""
        os.write(self._asking, json.dumps(list(arguments)).encode() + b"\n")
        return Life(int(self._told.readline()))

    def end(self) -> None:
        """No more lives; those that are go on."""
        os.close(self._asking)
        self._told.close()
        self._process.wait(START_S)


def _server() -> Main:
    sys.path.insert(0, str(Path.cwd()))
    import django
    from django.core import checks
    from django.core.management import execute_from_command_line
    from django.db.migrations.loader import MigrationLoader
    from django.urls import get_resolver

    from opscenter import env

    env.use_settings()
    django.setup()
    import_module("opscenter.asgi")
    import_module("opscenter.management.commands.serve")
    import_module("mcp.management.commands.reapcalls")
    list(get_resolver().url_patterns)
    MigrationLoader(None)  # imports them; a server looks whether all of them have run
    checks.run_checks()

    workers: Any = import_module("billing.workers")
    bell: Any = import_module("mcp.bell")

    def main(arguments: list[str]) -> int | None:
        workers.OWN_ID, bell._OWN = uuid4(), uuid4().hex  # each life's own, as an import makes them
        execute_from_command_line(arguments)
        return 0

    return main


def _connector() -> Main:
    import_module("opscenter_connector.running")  # with the SDK, which its `cli` puts off
    main: Main = import_module("opscenter_connector.cli").main
    return main


def _fork(main: Main, arguments: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        sys.argv = arguments
        status = main(arguments) or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(kind: str, asked: int, telling: int) -> None:
    kinds: dict[str, Callable[[], Main]] = {"server": _server, "connector": _connector}
    main = kinds[kind]()
    gc.collect()
    gc.freeze()  # what stays need not be looked through in each life
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who end
    os.set_inheritable(asked, False)
    with os.fdopen(asked) as lines:
        for line in lines:
            arguments: Any = json.loads(line)
            os.write(telling, f"{_fork(main, arguments)}\n".encode())


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
