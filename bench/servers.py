"""The servers that are compared: how each is started, awaited and stopped, by its own pid."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import peer
from bench.stores import Stores

ROOT = Path(__file__).parent.parent
READY_S = 240.0  # LiteLLM imports for some seconds, for longer on a busy machine
POLL_S = 0.05
STOP_S = 10.0  # a server that has not gone by then is killed
SEED_S = 60.0
LOG_LINES = 8  # of a server that would not start
ON_STORES = ("ours1", "ours2")
WORKERS = {"ours1": 1, "ours2": 2, "litellm": 1, "litellm2": 2}


class NotReadyError(Exception):
    """A server did not come up. The text names it and its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One that is running."""

    name: str
    port: int
    pid: int
    key: str = "none"
    stores: tuple[int, ...] = ()  # the processes of its database and its cache

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """What a server sees: nothing of ours, so that every run is the same."""
    return {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", **more}


@asynccontextmanager
async def running(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    key: str = "none",
    stores: tuple[int, ...] = (),
    more: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> AsyncGenerator[Server]:
    """The server, from the moment that it accepts connections until the end of the block."""
    log = folder / f"{name}.log"
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=environment(folder, more or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        if not await _listens(name, process, port):
            said = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise NotReadyError(f"{name} ended with {process.returncode}:\n{said}")
        yield Server(name=name, port=port, pid=process.pid, key=key, stores=stores)
    finally:
        await _stop(process, stop)


async def _listens(name: str, process: Process, port: int) -> bool:
    """True as soon as it accepts a connection, False when it has ended instead."""
    try:
        async with asyncio.timeout(READY_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:  # not yet
                    await asyncio.sleep(POLL_S)
                    continue
                writer.close()
                return True
    except TimeoutError:
        raise NotReadyError(f"{name} did not listen within {READY_S:g} s") from None
    return False


async def _stop(process: Process, how: signal.Signals) -> None:
    if process.returncode is not None:
        return
    process.send_signal(how)
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


Running = AbstractAsyncContextManager[Server]


def upstream(folder: Path) -> Running:
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
    return running("upstream", command, port=port, folder=folder)


def floor(target: str, folder: Path) -> Running:
    port = free_port()
    command = [sys.executable, "-m", "bench.floor", "--port", str(port), "--upstream", target]
    return running("floor", command, port=port, folder=folder)


def litellm(target: str, folder: Path, workers: int) -> Running:
    port = free_port()
    config = peer.configured(target, folder)
    command = [str(peer.PROGRAM), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", str(workers)]
    key = f"sk-{secrets.token_hex(32)}"  # it does not start without one, and ours checks one too
    more = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": key,
        "NO_DOCS": "True",
    }
    return running("litellm", command, port=port, folder=folder, key=key, more=more)


@asynccontextmanager
async def ours(
    target: str,
    folder: Path,
    profile: Path | None = None,
    *,
    stores: Stores | None = None,
    workers: int = 1,
) -> AsyncGenerator[Server]:
    """The gateway with one key and a database of its own: SQLite, unless there are `stores`."""
    port, data = free_port(), folder / f"ours-{secrets.token_hex(4)}"
    data.mkdir()
    sqlite = {"OPSCENTER_DATABASE_URL": f"sqlite:///{data / 'bench.sqlite3'}"}
    more = {
        "OPSCENTER_PORT": str(port),
        "OPSCENTER_ENV_FILE": os.devnull,
        "OPSCENTER_VAR_DIR": str(data),
        "OPSCENTER_WORKERS": str(workers),
        "OPSCENTER_SECRET_KEY": secrets.token_hex(32),
        "OPSCENTER_KEY_PEPPER": secrets.token_hex(32),
        **(stores.settings() if stores else sqlite),
    }
    key = await _seeded(target, folder, more)
    traced = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *traced, "manage.py", "serve"]
    # On SIGINT uvicorn returns to its caller and the profiler writes; SIGTERM would end it all.
    stop = signal.SIGINT if profile else signal.SIGTERM
    pids = stores.pids if stores else ()
    async with running(
        "ours", command, port=port, folder=folder, key=key, stores=pids, more=more, stop=stop
    ) as server:
        yield server


async def _seeded(target: str, folder: Path, more: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "bench.seed", "--upstream", target],
        cwd=ROOT,
        env=environment(folder, more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        key, said = await asyncio.wait_for(process.communicate(), SEED_S)
    except TimeoutError:
        process.kill()
        raise NotReadyError(f"the seed of ours took more than {SEED_S:g} s") from None
    if process.returncode:
        raise NotReadyError(f"the seed of ours failed:\n{said.decode()[-800:]}")
    return key.decode()


def start(name: str, target: str, folder: Path, stores: Stores | None) -> Running:
    """One of the systems that are compared, before this upstream."""
    if name == "floor":
        return floor(target, folder)
    if name == "ours":
        return ours(target, folder)
    workers = WORKERS[name]
    if name in ON_STORES:
        return ours(target, folder, stores=stores, workers=workers)
    return litellm(target, folder, workers)
