"""The set-up guide as a new user follows it: each of its blocks, pasted one after the other."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.environment import ROOT

GUIDE = ROOT / "docs" / "setup.md"
BLOCK = re.compile(r"^```(sh|json)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TYPED = re.compile(r"`(curl [^`]+)`")
TROUBLE = "## Troubleshooting"
STAYS, CLAUDE = "stays", "claude"  # what a block says of itself: it runs on; it needs Claude Code
STEP_S = 120.0  # none takes three seconds on an idle machine
STOP_S = 20.0

# A person sees what an answer says; here a refusal ends the block. The variables go from one block
# to the next, as in a shell.
BEFORE = """set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body --max-time 60 --noproxy '*' "$@"; }
[ ! -e "$STATE" ] || . "$STATE"
"""
AFTER = '\nexport -p > "$STATE"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of the guide."""

    chapter: str
    language: str
    says: str  # STAYS, CLAUDE or nothing
    text: str


def blocks() -> list[Block]:
    """All that are marked as `sh` or `json`, in their order."""
    guide = GUIDE.read_text()
    return [
        Block(
            chapter=HEADING.findall(guide, 0, found.start())[-1],
            language=found[1],
            says=found[2] or "",
            text=found[3],
        )
        for found in BLOCK.finditer(guide)
    ]


def troubles() -> list[str]:
    """The questions that its tables ask the gateway when something does not work, each once."""
    return list(dict.fromkeys(TYPED.findall(GUIDE.read_text().partition(TROUBLE)[2])))


@dataclass(slots=True, kw_only=True)
class Shell:
    """Where the blocks are pasted: a folder that looks like a checkout, and a home of its own."""

    folder: Path
    replaced: Mapping[str, str]  # what stands in the guide, to what it is here
    environment: Mapping[str, str]
    staying: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in (".venv", "connector", "manage.py"):
            (self.folder / name).symlink_to(ROOT / name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.interrupt()

    @property
    def log(self) -> Path:
        """What a program that stays says."""
        return self.folder / "stays.log"

    def paste(self, text: str) -> str:
        """Run it to its end, which must be a good one; what it said."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["bash", "-c", BEFORE + self.here(text) + AFTER],
            **self._how(),
            capture_output=True,
            text=True,
            timeout=STEP_S,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{self._heard()}"
        return done.stdout

    def start(self, text: str) -> None:
        """Run it beside what follows, in place of what stayed until now."""
        self.interrupt()
        with self.log.open("wb") as log:
            self.staying.append(
                subprocess.Popen(
                    ["bash", "-c", f"{BEFORE}exec {self.here(text)}"],
                    **self._how(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def interrupt(self) -> None:
        """Ctrl-C."""
        for process in self.staying:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(STOP_S)
        self.staying.clear()

    def here(self, text: str) -> str:
        """The text with this gateway's address and key in it."""
        for name, value in self.replaced.items():
            text = text.replace(name, value)
        return text

    def _how(self) -> dict[str, Any]:
        own = {"HOME": str(self.folder), "STATE": str(self.folder / "state.sh"), "TERM": "dumb"}
        return {
            "cwd": self.folder,
            "env": {**self.environment, **own},
            "stdin": subprocess.DEVNULL,
        }

    def _heard(self) -> str:
        return self.log.read_text() if self.log.exists() else ""
