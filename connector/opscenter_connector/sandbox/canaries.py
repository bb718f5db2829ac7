"""The self-test: what a command must not be able to do, tried for real before the first call."""

import os
import secrets
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opscenter_connector.sandbox import shell
from opscenter_connector.sandbox.layers import Canary, Outcome

TEST_S = 10.0  # it takes a tenth of a second

# Each line says its name only if the attempt came through.
_SCRIPT = """
grep -qs {token} {outside}/secret && echo GOT:read
(echo x > {outside}/written) 2>/dev/null
(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo GOT:network
kill -0 {pid} 2>/dev/null && echo GOT:signals
unshare -Ur true 2>/dev/null && echo GOT:namespaces
for p in python3 perl; do command -v $p >/dev/null && HAVE=$p && break; done
case "$HAVE" in
python3) python3 -c 'import socket;socket.socket(socket.AF_UNIX).connect("{socket}")' ;;
perl) perl -MSocket -e 'socket(S,1,1,0)&&connect(S,sockaddr_un(q({socket})))||exit 1' ;;
*) echo SAID:sockets:no-python-or-perl-to-try-it-with; false ;;
esac 2>/dev/null && echo GOT:sockets
for n in {{3..1023}}; do [ -e /dev/fd/$n ] && echo GOT:files && break; done
echo "ENV:$(compgen -e | tr '\\n' ' ')"
(setsid sleep {survivor} >/dev/null 2>&1 </dev/null &)
echo DONE
"""
NAMES = (
    "read",
    "write",
    "network",
    "signals",
    "namespaces",
    "sockets",
    "files",
    "environment",
    "survivors",
)
# What bash sets by itself.
OWN_VARIABLES = frozenset({"_", "PWD", "SHLVL", "OLDPWD", "HAVE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cage:
    """A folder to be allowed, one beside it that is not, and things that must not be reached."""

    inside: Path
    outside: Path
    socket: Path
    port: int
    token: str
    survivor: str  # seconds that no other program sleeps for

    @property
    def command(self) -> str:
        return _SCRIPT.format(
            token=self.token,
            outside=shlex.quote(str(self.outside)),
            port=self.port,
            pid=os.getpid(),
            socket=str(self.socket),
            survivor=self.survivor,
        )


@contextmanager
def cage() -> Iterator[Cage]:
    """While it is open, its sockets listen."""
    with (
        tempfile.TemporaryDirectory(prefix="opscenter-cage-") as name,
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        folder = Path(name).resolve()
        made = Cage(
            inside=folder / "inside",
            outside=folder / "outside",
            socket=folder / "socket",
            port=_listening(tcp, ("127.0.0.1", 0))[1],
            token=secrets.token_hex(16),
            survivor=f"98765.{secrets.randbelow(10**9)}",
        )
        made.inside.mkdir()
        made.outside.mkdir()
        (made.outside / "secret").write_text(made.token)
        _listening(unix, str(made.socket))
        with (made.outside / "secret").open() as left_open:  # as the connector's starter may do
            os.set_inheritable(left_open.fileno(), True)
            yield made


def _listening(one: socket.socket, address: object) -> tuple[str, int]:
    one.bind(address)  # type: ignore[arg-type]  # an address is what its family says it is
    one.listen()
    found = one.getsockname()
    return found if isinstance(found, tuple) else ("", 0)


def judged(cage: Cage, outcome: Outcome) -> tuple[Canary, ...]:
    """What came through. A test that did not get to its end has held nothing."""
    lines = outcome.stdout.splitlines()
    if "DONE" not in lines:
        why = (outcome.stderr or outcome.stdout).strip()[-300:] or outcome.ended.value
        return (Canary(name="runs", held=False, detail=f"the self-test did not end: {why}"),)
    got = {line[4:] for line in lines if line.startswith("GOT:")}
    if (cage.outside / "written").exists():
        got.add("write")
    strangers = _strangers(lines)
    details = {"environment": ", ".join(sorted(strangers))}
    for line in lines:
        if line.startswith("SAID:"):
            _, name, said = line.split(":", 2)
            details[name] = said.replace("-", " ")
    if strangers:
        got.add("environment")
    if _runs(cage.survivor):
        got.add("survivors")
    return tuple(
        Canary(name=name, held=name not in got, detail=details.get(name, "")) for name in NAMES
    )


def _strangers(lines: list[str]) -> set[str]:
    found = {name for line in lines if line.startswith("ENV:") for name in line[4:].split()}
    return found - shell.environment("", "").keys() - OWN_VARIABLES


def _runs(marked: str) -> bool:
    """Whether any process of this machine has that among its arguments."""
    if not Path("/proc/self").exists():
        listed = subprocess.run(
            ["/bin/ps", "-axo", "command"], capture_output=True, timeout=TEST_S, check=False
        )
        return marked.encode() in listed.stdout
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and marked in Path("/proc", name, "cmdline").read_text("latin-1"):
                return True
    return False
