"""What the running connector has in force, written down for whoever asks in another terminal.

Flags and variables of the one that runs are nobody else's: from the files alone a policy would be
shown that counts for nothing.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opscenter_connector.policing import effective
from opscenter_connector.policing.effective import Line
from opscenter_connector.policy import Policy
from opscenter_connector.settings import Settings

FILE = "policy.json"  # in the directory of the state
MAX_BYTES = 4 * 1024 * 1024  # some thousand rules; what is larger is not ours


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A policy as it counts, and as people read it."""

    layer: str  # what holds commands
    version: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    policy: dict[str, Any]  # all of it, for programs

    def is_of(self, rules: Policy) -> bool:
        """Whether these rules are the ones in force."""
        return self.version == effective.full_version(rules, self.layer)


def of(settings: Settings, layer: str) -> InForce:
    said = effective.as_json(settings, layer)
    return InForce(
        layer=layer,
        version=said["version"],
        lines=tuple(effective.lines(settings, layer)),
        notes=tuple(effective.notes(settings)),
        policy=said,
    )


def write(state_dir: Path, policy: InForce) -> None:
    """In place of what is there, whole. Raises OSError."""
    new = state_dir / f"{FILE}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(policy), file)
    new.replace(state_dir / FILE)


def read(state_dir: Path) -> InForce | None:
    """What a connector wrote there that runs; None where that cannot be said."""
    try:
        with (state_dir / FILE).open("rb") as file:
            said = json.loads(file.read(MAX_BYTES))
        return InForce(
            layer=str(said["layer"]),
            version=str(said["version"]),
            lines=tuple(Line(**line) for line in said["lines"]),
            notes=tuple(map(str, said["notes"])),
            policy=dict(said["policy"]),
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
