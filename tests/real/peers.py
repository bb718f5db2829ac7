"""Where each real peer lies, and whether it is there at the pinned version."""

import filecmp
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "var" / "real"
SAY_VERSION_S = 10  # a program that only says its version is done at once
SERVER_OF = {
    "postgresql": "postgres",
    "bubblewrap": "bwrap",
    "prometheus": "promtool",
    "maven": "mvn",
    "openjdk-17-jre-headless": "java",
}  # where the program is not called as its package
FOR_ROOT = {"nginx"}  # lie where no ordinary PATH looks
ASKED = {"nginx": "-v"}  # how a program is asked for its version that knows no --version
ANY = "any"  # version of what its packager renews all the time
BUILT = "built"  # stands in a distribution once it is ready to start
NODE = HOME / "node"
CONNECTOR = ROOT / "connector"

VERSIONS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("versions.toml").read_text()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    kind: str  # the table of versions.toml, and the way it is installed
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def pinned(self) -> str:
        """The name and version as the installer of this kind writes them."""
        return {
            "node": f"{self.name}@{self.version}",
            "python": f"{self.name}=={self.version}",
        }.get(self.kind, self.name)


PEERS = [
    Peer(kind=kind, name=name, version=version)
    for kind, table in VERSIONS.items()
    for name, version in table.items()
]


def named(name: str) -> Peer:
    """The peer called `name` in versions.toml."""
    return next(peer for peer in PEERS if peer.name == name)


def environment_of(peer: Peer) -> Path:
    """The environment that a Python peer has to itself."""
    return HOME / peer.name


def programs_of(peer: Peer) -> Path:
    """Where a Debian server's programs lie: some have a folder of their own that no PATH holds."""
    own = Path("/usr/lib") / peer.name / peer.version / "bin"
    if own.is_dir():
        return own
    return Path("/usr/sbin") if peer.name in FOR_ROOT else Path("/usr/bin")


def _node_is_there(peer: Peer) -> bool:
    manifest = NODE / "node_modules" / peer.name / "package.json"
    return manifest.is_file() and json.loads(manifest.read_text())["version"] == peer.version


def _python_is_there(peer: Peer) -> bool:
    found = environment_of(peer).glob(
        f"lib/python*/site-packages/{peer.name}-{peer.version}.dist-info/METADATA"
    )
    return any(found)


def _own_is_there(peer: Peer) -> bool:
    """Installed, and from the source as it is now."""
    package = "opscenter_connector"
    source = CONNECTOR / package
    files = [str(file.relative_to(source)) for file in source.rglob("*.py")]
    found = environment_of(peer).glob(f"lib/python*/site-packages/{package}")
    return any(filecmp.cmpfiles(source, there, files, shallow=False)[0] == files for there in found)


def _debian_is_there(peer: Peer) -> bool:
    program = programs_of(peer) / SERVER_OF.get(peer.name, peer.name)
    if not program.is_file():
        return False
    if peer.version == ANY:
        return True
    asked: list[str | Path] = [program, ASKED.get(peer.name, "--version")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=SAY_VERSION_S)
    return re.search(rf"[ =/]{re.escape(peer.version)}\.", done.stdout + done.stderr) is not None


def unpacked(peer: Peer) -> Path:
    """Where a distribution from Maven lies; its archive has a folder of this name."""
    return HOME / f"{peer.name.partition(':')[2].partition('-')[0]}-{peer.version}"


def _maven_is_there(peer: Peer) -> bool:
    return (unpacked(peer) / BUILT).is_file()


IS_THERE: dict[str, Callable[[Peer], bool]] = {
    "node": _node_is_there,
    "python": _python_is_there,
    "own": _own_is_there,
    "maven": _maven_is_there,
    "debian": _debian_is_there,
}


def is_there(peer: Peer) -> bool:
    """Whether the peer is installed at the pinned version."""
    return IS_THERE[peer.kind](peer)
