"""The image's own steps, without an engine: its tree, its command, its health check."""

import fnmatch
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.environment import ROOT

FILE = ROOT / "Dockerfile"
COPY = re.compile(r"^COPY (?!--from)(\S+) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What the Dockerfile says of its last stage."""

    copies: dict[str, str]  # what of ours goes where
    command: list[str]
    health: list[str]


def recipe() -> Recipe:
    """Read from the Dockerfile, so that a test can only try what is there."""
    last = FILE.read_text().rpartition("\nFROM ")[2]
    commands = re.findall(r"^(?:HEALTHCHECK .*)?CMD (\[.*\])$", last, re.MULTILINE)
    health, command = map(json.loads, commands)
    return Recipe(copies=dict(COPY.findall(last)), command=command, health=health)


def unpack(into: Path) -> Path:
    """Copy what the engine would copy; the folder that is /app there."""
    for source, target in recipe().copies.items():
        place = into / target.lstrip("/")
        if target.endswith("/"):
            place = place / source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=_ignored)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, place)
    return into / "app"


def _ignored(folder: str, names: list[str]) -> set[str]:
    here = Path(folder).relative_to(ROOT)
    return {name for name in names if not goes_along(str(here / name))}


def goes_along(path: str) -> bool:
    """Whether .dockerignore lets the engine see this path. The last rule counts."""
    goes = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        is_kept, rule = rule.startswith("!"), rule.lstrip("!")
        if _fits(path, rule):
            goes = is_kept
        elif is_kept and rule.startswith(f"{path}/"):
            goes = True  # something in this folder does
    return goes


def _fits(path: str, rule: str) -> bool:
    parts = Path(path).parts
    if rule.startswith("**/"):
        return any(fnmatch.fnmatch(part, rule[3:]) for part in parts)
    heads = (Path(path), *Path(path).parents)
    return any(fnmatch.fnmatch(str(head), rule) for head in heads if head.name)
