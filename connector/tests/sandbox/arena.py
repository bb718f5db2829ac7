"""A folder that is allowed, a person's things beside it, and who notices what happens to them."""

import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.sandbox.attacks import CANARY, Attack

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")


@dataclass(slots=True, kw_only=True)
class Arena:
    """Made anew for each attack."""

    top: Path
    uid: int
    tag: str
    bystander: subprocess.Popen[bytes]
    sockets: dict[str, socket.socket]
    before: dict[str, object] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.top / "ws"

    def said(self, text: str) -> str:
        """A row's text with the names of this arena in it."""
        named = {
            "$A": str(self.top),
            "$T": self.tag,
            "$V": str(self.bystander.pid),
            "$P": str(self.sockets["tcp"].getsockname()[1]),
            "$U": str(self.sockets["udp"].getsockname()[1]),
        }
        text = text.replace("$PPID", "\0")
        for name, value in named.items():
            text = text.replace(name, value)
        return text.replace("\0", "$PPID")

    def things(self) -> dict[str, object]:
        """What attacks change."""
        outside, home = self.top / "outside", self.top / "home"
        victim = outside / "victim.txt"
        found: dict[str, object] = {
            "victim": _content(victim),
            "keys": _content(home / ".ssh" / "authorized_keys"),
            "linked": _content(outside / "linked"),
            "git config": _content(self.workspace / ".git" / "config"),
            "settings": _content(self.workspace / "pkg" / ".vscode" / "settings.json"),
        }
        with suppress(OSError):
            process = Path("/proc", str(self.bystander.pid))
            found["limits"] = (process / "limits").read_text()
            found["priority"] = os.getpriority(os.PRIO_PROCESS, self.bystander.pid)
        with suppress(FileNotFoundError):
            status = victim.stat()
            found |= {"mode of victim": status.st_mode, "time of victim": status.st_mtime}
        return found

    def came_through(self, attack: Attack, output: str) -> bool:
        """Whether it did what it wanted."""
        return (
            (bool(attack.says) and self.said(attack.says) in output)
            or (bool(attack.changes) and self._changed(attack.changes))
            or (bool(attack.makes) and Path(self.said(attack.makes)).exists())
            or (bool(attack.plants) and (self.workspace / attack.plants).exists())
            or (bool(attack.reaches) and _spoken_to(self.sockets[attack.reaches]))
            or (bool(attack.leaves) and bool(running(self.said(attack.leaves))))
            or (attack.kills and self.bystander.poll() is not None)
        )

    def _changed(self, name: str) -> bool:
        return self.things().get(name) != self.before[name]


@contextmanager
def arena(uid: int) -> Iterator[Arena]:
    """Everything in it belongs to that user."""
    top = Path(tempfile.mkdtemp(prefix="opscenter-arena-", dir="/var/tmp"))
    tag = f"zz{secrets.token_hex(4)}"
    held: dict[str, socket.socket] = {}
    bystander = subprocess.Popen(
        ["bash", "-c", f"exec -a {tag}_bystander sleep 300"],
        env={"SECRET_TOKEN": CANARY},
        **({"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
    )
    try:
        _furnish(top)
        held = _listening(top, tag)
        _give(top, uid)
        made = Arena(top=top, uid=uid, tag=tag, bystander=bystander, sockets=held)
        made.before = made.things()
        yield made
    finally:
        for one in held.values():
            one.close()
        for pid in [*running(tag), bystander.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        bystander.wait()
        Path("/tmp", f"{tag}_drop").unlink(missing_ok=True)
        shutil.rmtree(top, ignore_errors=True)


def _furnish(top: Path) -> None:
    workspace, outside, home = top / "ws", top / "outside", top / "home"
    for folder in (".ssh", ".config/gw", ".config/autostart", ".local/bin"):
        (home / folder).mkdir(parents=True)
    outside.mkdir()
    (workspace / "pkg" / ".vscode").mkdir(parents=True)
    (outside / "secret.txt").write_text(CANARY)
    (outside / "victim.txt").write_text("as it was")
    (outside / "linked").write_text("as it was")
    (home / ".ssh" / "id_rsa").write_text(CANARY)
    (home / ".ssh" / "authorized_keys").write_text("mine\n")
    (home / ".config" / "gw" / "token").write_text(CANARY)
    (workspace / "a.txt").write_text("a\n")
    (workspace / "pkg" / ".vscode" / "settings.json").write_text("{}")
    (workspace / "link_secret").symlink_to(outside / "secret.txt")
    (workspace / "link_dir").symlink_to(outside)
    (workspace / ".husky").symlink_to("tools/hooks")  # which is not there yet
    (workspace / "hard").hardlink_to(outside / "linked")
    subprocess.run([*GIT, "init", "-q", "."], cwd=workspace, check=True)
    subprocess.run([*GIT, "config", "include.path", "../shared.config"], cwd=workspace, check=True)
    subprocess.run([*GIT, "commit", "-q", "--allow-empty", "-m", "x"], cwd=workspace, check=True)


def _listening(top: Path, tag: str) -> dict[str, socket.socket]:
    made: dict[str, tuple[int, int, str | tuple[str, int]]] = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM, str(top / "docker.sock")),
        "inner": (socket.AF_UNIX, socket.SOCK_STREAM, str(top / "ws" / "inner.sock")),
        "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{tag}_abstract"),
    }
    held = {}
    for name, (family, kind, address) in made.items():
        held[name] = socket.socket(family, kind)
        held[name].bind(address)
        held[name].setblocking(False)
        if kind == socket.SOCK_STREAM:
            held[name].listen()
    return held


def _give(top: Path, uid: int) -> None:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            os.lchown(f"{folder}/{name}", uid, uid)
            if not stat.S_ISLNK(os.lstat(f"{folder}/{name}").st_mode):
                Path(folder, name).chmod(0o755)
    os.chown(top, uid, uid)
    top.chmod(0o755)


def _content(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _spoken_to(one: socket.socket) -> bool:
    try:
        if one.type == socket.SOCK_DGRAM:
            one.recv(10)
        else:
            one.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def running(marked: str) -> list[int]:
    """Processes of this machine with that in their command line."""
    found = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and marked in Path("/proc", name, "cmdline").read_text("latin-1"):
                found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]
