"""A machine with a real connector: the installed program, its own home, real MCP servers."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests import gateway
from tests.real import another, peers
from tests.real.programs import PATH
from tests.real.warm import Life, Warm

T = TypeVar("T")
Event = dict[str, Any]
Command = Sequence[str | Path]

CONNECTOR = "opscenter-connector"
PEERS = (
    CONNECTOR,
    "@modelcontextprotocol/server-everything",
    "@modelcontextprotocol/server-filesystem",
)
NOTHING: Mapping[str, str] = {}
READY_S = 60  # Node and Python start at the same time, on a machine that may be busy
STOP_S = 20  # the connector gives running calls 10 s

_PROGRAMS = peers.environment_of(peers.named(CONNECTOR)) / "bin"
PYTHON = _PROGRAMS / "python"
_SITE = next(_PROGRAMS.parent.glob("lib/python*/site-packages"), Path())
_SERVERS = peers.NODE / "node_modules" / "@modelcontextprotocol"
EVERYTHING: Command = ["node", _SERVERS / "server-everything" / "dist" / "index.js", "stdio"]


def files_server(folder: Path) -> Command:
    """server-filesystem, for this folder."""
    return ["node", _SERVERS / "server-filesystem" / "dist" / "index.js", folder]


def effects_server(notes: Path) -> Command:
    """The server of ours whose effects stand in `notes`."""
    return [PYTHON, Path(__file__).with_name("effects_server.py"), notes]


def light_effects_server(notes: Path) -> Command:
    """Its two tools for chaos, from a program that starts at once."""
    return [PYTHON, Path(__file__).with_name("light_effects.py"), notes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose machine it is."""

    key: str
    user_id: int


class Machine:
    """One connector. It may be killed, paused and started again, over another transport too.

    `is_warm`: each life is forked from a process that has imported the connector.
    """

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, Command],
        *,
        url: str,
        owner: Owner,
        transport: str,
        name: str = "laptop",
        is_anothers: bool = False,
        is_warm: bool = False,
        environment: Mapping[str, str] = NOTHING,
    ) -> None:
        self.url, self.owner, self.transport, self.name = url, owner, transport, name
        self.state = folder / "state"
        self.servers = servers
        self._environment = environment
        self._folder = folder
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | Life | None = None
        self._is_warm = is_warm
        self._warm: Warm | None = None
        self._locals: set[int] = set()
        folder.mkdir(parents=True)
        self._key = folder / "key"
        self._key.write_text(owner.key)
        self._key.chmod(0o600)
        self._config = folder / "mcp.json"
        self._config.write_text(json.dumps({"mcpServers": _config(servers)}))
        self._uid = another.uid() if is_anothers else None
        if is_anothers:
            another.given(folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, transport: str | None = None) -> None:
        """Begin another life; `wait_until_ready` says when it works."""
        self.transport = transport or self.transport
        arguments: list[str | Path] = [
            *("run", "--api-url", self.url),
            *("--api-key-file", self._key, "--mcp-config", self._config, "--name", self.name),
            *("--state-dir", self.state, "--transport", self.transport, "--log-format", "json"),
        ]
        self._life = self._log.stat().st_size if self._log.exists() else 0
        env = {
            "PATH": PATH,
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            **({} if self._uid is None else {"PYTHONPATH": str(_SITE)}),
            **self._environment,
        }
        with self._log.open("ab") as output:
            if self._is_warm:
                if self._warm is None:
                    self._warm = Warm(PYTHON, "connector", cwd=self._folder, env=env, output=output)
                self._process = self._warm.life([str(part) for part in arguments])
                return
            self._process = subprocess.Popen(
                [*self._program(), *arguments],
                cwd=self._folder,
                env=env,
                user=self._uid,
                group=self._uid,
                extra_groups=None if self._uid is None else [],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _program(self) -> Command:
        if self._uid is None:
            return [_PROGRAMS / "ops-connector"]
        return [another.interpreter(), "-c", "from opscenter_connector.cli import main; main()"]

    @property
    def process(self) -> subprocess.Popen[bytes] | Life:
        assert self._process is not None
        return self._process

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """The log of all its lives."""
        return self._log.read_text(errors="replace")

    def events(self, kind: str, **fields: Any) -> list[Event]:
        """What it has told in this life."""
        return self.events_since(self._life, kind, **fields)

    def events_since(self, mark: int, kind: str, **fields: Any) -> list[Event]:
        """What it has told since `mark`."""
        with self._log.open("rb") as log:
            log.seek(mark)
            lines = log.read().decode(errors="replace").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        wanted = ({"event": kind} | fields).items()
        return [one for one in told if wanted <= one.items()]

    @property
    def mark(self) -> int:
        """For `events_since`: now."""
        return self._log.stat().st_size

    def until(self, found: Callable[[], T | None], within_s: float = READY_S) -> T:
        """As tests.gateway.eventually; a connector that has ended fails at once."""

        def alive() -> T | None:
            value = found()
            assert value or self.is_alive, f"it has ended:\n{self.said()[-4000:]}"
            return value

        try:
            return gateway.eventually(alive, within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the connector said:\n{self.said()[-4000:]}") from None

    def wait_until_ready(self) -> None:
        """It has a session, and its servers run."""
        self.until(lambda: self.is_ready)

    @property
    def is_ready(self) -> bool:
        """It has had a session and its servers have run, in this life."""
        there = {one["server"] for one in self.events("server_changed", state="ready")}
        return there >= set(self.servers) and bool(self.events("connected"))

    def pids_of_servers(self) -> dict[str, int]:
        """The local servers that run now."""
        pid = self.process.pid
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found = {name: child for child in map(int, children) if (name := self._name_of(child))}
            self._locals.update(found.values())
            return found
        return {}

    def _name_of(self, pid: int) -> str | None:
        with suppress(OSError):
            ran = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
            for name, command in self.servers.items():
                if ran[1:] == [os.fsencode(part) for part in command[1:]]:
                    return name
        return None

    def kill_server(self, name: str) -> None:
        """With -9."""
        os.kill(self.pids_of_servers()[name], signal.SIGKILL)

    def kill(self) -> None:
        """With -9, in the middle of whatever it does. Its servers see their input end."""
        assert self.is_alive, f"it had ended by itself:\n{self.said()[-4000:]}"
        self.pids_of_servers()
        self.process.kill()
        self.process.wait(STOP_S)

    def freeze(self) -> None:
        """As a lid that is closed."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """As Ctrl-C and service managers do."""
        if self.is_alive:
            self.pids_of_servers()
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()

    def stop(self) -> None:
        """End it with all it started."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
        for pid in self._locals:
            if self._name_of(pid):
                os.kill(pid, signal.SIGKILL)
        if self._warm is not None:
            self._warm.end()

    def journal(self) -> list[Event]:
        """The lines of its journal that are whole."""
        file = self.state / "journal.jsonl"
        lines = file.read_bytes().split(b"\n") if file.exists() else []
        return [json.loads(line) for line in lines[:-1] if line]

    def ended(self) -> list[Event]:
        """What of its journal says how a call ended."""
        return [line for line in self.journal() if line["k"] == "d"]

    def unacknowledged(self) -> set[str]:
        """The calls that it has begun, or handed in, and had no last word about."""
        last = {line["id"]: line["k"] for line in self.journal()}
        return {call_id for call_id, kind in last.items() if kind != "a"}


def _config(servers: Mapping[str, Command]) -> dict[str, Any]:
    return {
        name: {"command": str(command[0]), "args": [str(part) for part in command[1:]]}
        for name, command in servers.items()
    }
