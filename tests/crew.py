"""A gateway of several processes, as the tests see it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The parent, and where its children listen."""

    url: str
    parent: subprocess.Popen[bytes]

    def members(self) -> set[int]:
        """The processes that serve; the parent has another, which only keeps account of them."""
        try:
            told = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text()
        except FileNotFoundError:  # the parent has ended
            return set()
        return {pid for pid in map(int, told.split()) if b"spawn_main" in command_of(pid)}

    def ask(self) -> int:
        """A request on a connection of its own, so that either may take it."""
        return httpx.get(f"{self.url}/healthz", trust_env=False, timeout=30).status_code

    def both_new(self, before: set[int]) -> set[int]:
        """Who serves, once none of those `before` does any more."""
        now = self.members()
        return now if len(now) == 2 and not now & before else set()


def command_of(pid: int) -> bytes:
    """How the process was started; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
