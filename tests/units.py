"""The systemd units of deploy/, as data: what they start, as whom, in which environment."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.environment import ROOT

DEPLOY = ROOT / "deploy"
CURRENT = "/opt/opscenter/current"  # the release that serves, on a Debian host
PYTHON = f"{CURRENT}/.venv/bin/python"
ENV_FILE = "/etc/opscenter/opscenter.env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One file; a key that stands in it several times has all its values, in their order."""

    name: str
    text: str

    def all(self, key: str) -> list[str]:
        return re.findall(rf"^{key}=(.*)$", self.text, re.MULTILINE)

    def the(self, key: str) -> str:
        """The value of a key that stands there once."""
        (value,) = self.all(key)
        return value

    @property
    def command(self) -> list[str]:
        return shlex.split(self.the("ExecStart"))

    @property
    def environment(self) -> dict[str, str]:
        pairs = [pair for line in self.all("Environment") for pair in shlex.split(line)]
        return dict(pair.split("=", 1) for pair in pairs)

    def sandbox(self) -> list[str]:
        """Everything from the user on: who it is and what it may."""
        _, _, rest = self.text.partition("\nUser=")
        return rest.partition("\n[Install]")[0].splitlines()


def ours() -> dict[str, Unit]:
    """Those of the server; the connector's is one of its user's."""
    files = sorted(DEPLOY.glob("*.service"))
    found = [Unit(name=file.name, text=file.read_text()) for file in files]
    return {unit.name: unit for unit in found if unit.all("User")}


def moved(unit: Unit, *, current: Path, python: str, env_file: Path) -> Unit:
    """The same unit for a release that lies elsewhere."""
    text = unit.text.replace(PYTHON, python).replace(CURRENT, str(current))
    return Unit(name=unit.name, text=text.replace(ENV_FILE, str(env_file)))
