"""The peer, LiteLLM's proxy: installed once into an environment of its own, then only started."""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parent / "var" / "bench" / "litellm"
PROGRAM = HOME / "bin" / "litellm"
REQUIREMENTS = HERE / "litellm-requirements.txt"
CONFIG = HERE / "litellm.yaml"
STAMP = HOME / "installed"  # the digest of the requirements that are in
INSTALL_S = 600.0


class NotInstalledError(Exception):
    """The peer cannot be had here. The text says why; the bench goes on without it."""


def install() -> None:
    """Install the pinned peer. A second call finds it there and changes nothing."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return
    print("installing LiteLLM into var/bench/litellm, once …", file=sys.stderr, flush=True)
    pip = [
        str(HOME / "bin" / "pip"),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    try:
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True, timeout=INSTALL_S)
        subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True, timeout=INSTALL_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotInstalledError(f"LiteLLM could not be installed: {error}") from error
    STAMP.write_text(digest)


def configured(upstream: str, folder: Path) -> Path:
    """The peer's configuration for this run's upstream."""
    path = folder / "litellm.yaml"
    path.write_text(CONFIG.read_text().replace("UPSTREAM", upstream))
    return path
