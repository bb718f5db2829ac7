"""A PostgreSQL of its own for a test run: fresh data folder, free port, stopped by its own pid."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.gateway import free_port
from tests.real import peers

POSTGRES_S = 60  # initdb takes 2 s here; a machine with slow disks needs more
ACCOUNT = "postgres"  # what Debian's package creates; the server refuses to run as root


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server that trusts its superuser, on loopback only."""

    port: int
    host: str = "127.0.0.1"
    user: str = "opscenter"
    database: str = "postgres"
    control: tuple[str | Path, ...] = ()  # pg_ctl, with what starts and stops this one

    @property
    def url(self) -> str:
        return f"postgres://{self.user}@{self.host}:{self.port}/{self.database}"

    @property
    def pid(self) -> int:
        """Of its first process, whose children all others are."""
        _, _, folder, *_ = self.control
        return int((Path(folder) / "postmaster.pid").read_text().split()[0])

    def crash(self) -> None:
        """End it as a power cut would: it recovers when it starts."""
        program, *how, _, _, _, _, _ = self.control
        _program(str(program), *how, "-m", "immediate", "stop")

    def start(self) -> None:
        """Have it answer again."""
        program, *how = self.control
        _program(str(program), *how)


@contextmanager
def running(*, durable: bool = False, connections: int = 200) -> Iterator[Postgres]:
    """Start an empty one that takes so many connections.

    Unless it is `durable`, nothing is flushed: no test outlives its data.
    """
    server = Postgres(port=free_port())
    folder = Path(tempfile.mkdtemp(prefix="opscenter-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, ACCOUNT, ACCOUNT)
        _program(
            "initdb", "-D", folder / "data", "-U", server.user, "-A", "trust", "-E", "UTF8", "-N"
        )
        options = f"-p {server.port} -c listen_addresses={server.host}"
        # No socket files: their folder is not everybody's.
        options += f" -c unix_socket_directories='' -c max_connections={connections}"
        options += "" if durable else " -c fsync=off"
        control = ("pg_ctl", "-D", folder / "data", "-w", "-t", str(POSTGRES_S))
        start = (*control, "-l", folder / "log", "-o", options, "start")
        _program(*start)
        try:
            yield replace(server, control=start)
        finally:
            _program(*control, "-m", "fast", "stop")  # by the pid in its own data folder
    finally:
        shutil.rmtree(folder)


def _program(name: str, *arguments: str | Path) -> None:
    """Run one of the server's programs, as root never."""
    account = ACCOUNT if os.geteuid() == 0 else None
    done = subprocess.run(
        [peers.programs_of(peers.named("postgresql")) / name, *arguments],
        cwd="/",
        env={"LC_ALL": "C.UTF-8"},
        user=account,
        group=account,
        extra_groups=[] if account else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a pipe here would be held open by the server itself
        stderr=subprocess.DEVNULL,
        timeout=POSTGRES_S,
    )
    assert done.returncode == 0, f"{name} ended with {done.returncode}"
