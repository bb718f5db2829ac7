"""A real Chromium, with an empty profile and no way to any host but this one."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests import environment
from tests.real import peers

PEERS = ("chromium", "playwright", "axe-core")
STOP_S = 30
SHOTS = peers.HOME / "screenshots"
GRAVE = frozenset({"serious", "critical"})
# As text and not as a script of the page: no page's policy has to let it in. What it would load
# itself it leaves alone.
AXE = "async () => (await axe.run({preload: false, resultTypes: ['violations']})).violations"

_numbers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How somebody has set their browser."""

    width: int
    scheme: str  # light or dark

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = [Look(width=width, scheme=scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chromium:
    """The running browser."""

    process: subprocess.Popen[str]

    def ask(self, page: int, do: str, *values: Any, **named: Any) -> Any:
        """What became of one call. Fails the test where it came to nothing."""
        assert self.process.stdin and self.process.stdout
        asked = {"page": page, "do": do, "values": values, "named": named}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the browser's process has ended"
        said = json.loads(line)
        assert "error" not in said, said["error"]
        return said["result"]

    @contextmanager
    def page(self, look: Look = LOOKS[0]) -> Iterator["Page"]:
        """A page of somebody who was never here. Any fault that it had fails the test."""
        number = next(_numbers)
        size = {"width": look.width, "height": 900}
        self.ask(number, "open", viewport=size, color_scheme=look.scheme)
        faults: list[str] = []
        try:
            yield Page(chromium=self, number=number, look=look)
        finally:
            faults = self.ask(number, "close")
        assert not faults, "\n".join(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, with cookies of its own."""

    chromium: Chromium
    number: int
    look: Look

    def do(self, name: str, *values: Any, **named: Any) -> Any:
        """Playwright's method or property of this name; what has a JSON form comes back."""
        return self.chromium.ask(self.number, name, *values, **named)

    def open(self, url: str) -> None:
        """Go there, and wait until all that belongs to the page is there."""
        self.do("goto", url)

    @property
    def url(self) -> str:
        found: str = self.do("url")
        return found

    def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        found: str = self.do("inner_text", selector)
        return found

    def sign_in(self, name: str, password: str) -> None:
        """Fill in the form of this page, ours or Keycloak's, and send it."""
        self.do("fill", "[name=username]", name)
        self.do("fill", "[name=password]", password)
        self.leave("[name=password]")

    def leave(self, selector: str, key: str = "Enter") -> None:
        """Press a key there, and wait for the page that it leads to."""
        self.do("leave", selector, key)

    def axe(self) -> list[str]:
        """What stands in the way of people: each serious finding of axe-core in one line."""
        self.do("evaluate", _axe_source())
        return [
            f"{found['id']}: {node['html'][:200]} ({_reason(node)})"
            for found in self.do("evaluate", AXE)
            if found["impact"] in GRAVE
            for node in found["nodes"]
        ]

    def is_wider_than_its_window(self) -> bool:
        """Whether a person must scroll sideways."""
        found: int = self.do("evaluate", "document.documentElement.scrollWidth - innerWidth")
        return found > 0

    def keep(self, name: str) -> None:
        """A screenshot of all of it, for people to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.do("screenshot", path=str(SHOTS / f"{name}-{self.look}.png"), full_page=True)

    def findings(self, name: str) -> list[str]:
        """All that is wrong with how this page looks now; a screenshot of it is kept."""
        self.keep(name)
        wide = ["wider than its window"] if self.is_wider_than_its_window() else []
        return [f"{name}: {found}" for found in wide + self.axe()]


def _axe_source() -> str:
    return (peers.NODE / "node_modules" / "axe-core" / "axe.min.js").read_text()


def _reason(node: dict[str, Any]) -> str:
    return re.sub(r"\s+", " ", node["failureSummary"])[:300]


@contextmanager
def running(folder: Path) -> Iterator[Chromium]:
    """Start one, whose profile is gone with it."""
    python = peers.environment_of(peers.named("playwright")) / "bin" / "python"
    program = peers.programs_of(peers.named("chromium")) / "chromium"
    log = environment.VAR / "chromium.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, Path(__file__).with_name("browser_process.py"), program],
            env=environment.child(HOME=str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield Chromium(process=process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            assert process.stdout
            process.stdout.close()
