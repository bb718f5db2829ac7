"""Installs the real peers into var/real/ (`python -m tests.real.install`); repeats are harmless."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable

from tests.real import peers
from tests.real.peers import Peer

INSTALL_S = 600  # the slowest peer took 40 s; a stuck download must not hold a build for ever
# Peers of which every dependency is pinned as well, in the same list that the bench installs.
LOCKED = {"litellm": peers.ROOT / "bench" / "litellm-requirements.txt"}
SAID_CHARS = 1000  # the end of what an installer said is where the reason stands


class NotInstalledError(Exception):
    """This peer could not be installed. The text says what was tried and how it ended."""


def run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"`{' '.join(command)}`: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-SAID_CHARS:]
        raise NotInstalledError(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")


def install_node(peer: Peer) -> None:
    run(
        "npm",
        "install",
        "--prefix",
        str(peers.NODE),
        "--save-exact",
        "--no-audit",
        "--no-fund",
        peer.pinned,
    )


def install_python(peer: Peer) -> None:
    locked = LOCKED.get(peer.name)
    wanted = ["--no-deps", "--requirement", str(locked)] if locked else [peer.pinned]
    run(*_pip(peer), *wanted)


def install_own(peer: Peer) -> None:
    """As its users do: with pip alone, from the folder."""
    pip = _pip(peer)
    run(*pip, "--require-hashes", "--requirement", str(peers.CONNECTOR / "requirements.txt"))
    run(*pip, "--no-deps", str(peers.CONNECTOR))


def _pip(peer: Peer) -> tuple[str, ...]:
    """The beginning of an installation into a new environment."""
    own = peers.environment_of(peer)
    run(sys.executable, "-m", "venv", "--clear", str(own))
    return (str(own / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check")


def install_debian(peer: Peer) -> None:
    if os.geteuid() != 0:
        raise NotInstalledError(f"only root can install it: apt-get install {peer.pinned}")
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get")
    install = (*apt, "install", "--yes", "--no-install-recommends", peer.pinned)
    try:
        run(*install)
    except NotInstalledError:  # most often the list of packages is old or empty
        run(*apt, "update")
        run(*install)


def install_maven(peer: Peer) -> None:
    """Keycloak, built once for a database in memory, so that it starts in a few seconds."""
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
    wanted = [f"-Dartifact={peer.name}:{peer.version}:zip", f"-DoutputDirectory={peers.HOME}"]
    run("mvn", "--quiet", "--batch-mode", f"{plugin}:copy", *wanted)
    own, archive = peers.unpacked(peer), next(peers.HOME.glob(f"*-{peer.version}.zip"))
    shutil.rmtree(own, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(peers.HOME)
    archive.unlink()
    run("sh", str(own / "bin" / "kc.sh"), "build", "--db=dev-mem")
    (own / peers.BUILT).touch()


INSTALL: dict[str, Callable[[Peer], None]] = {
    "node": install_node,
    "python": install_python,
    "own": install_own,
    "maven": install_maven,
    "debian": install_debian,
}


def ensure(peer: Peer) -> str:
    """Install the peer unless it is there; one line that says which of the two it was."""
    if peers.is_there(peer):
        return f"{peer}: already there"
    INSTALL[peer.kind](peer)
    if not peers.is_there(peer):
        raise NotInstalledError("the installer reported success, but this version is not there")
    return f"{peer}: installed"


def main() -> int:
    peers.HOME.mkdir(parents=True, exist_ok=True)
    failed = 0
    for peer in peers.PEERS:
        try:
            line = ensure(peer)
        except NotInstalledError as error:
            line = f"{peer}: FAILED: {error}"
            failed = 1
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main())
