"""The tool `glob`: which files have a path like this."""

from typing import Any

from opscenter_connector.local import expressions, names
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import (
    PATH,
    READ_ONLY,
    Arguments,
    Tool,
    boolean,
    listed,
    string,
    whole,
)
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError
from opscenter_connector.local.roots import Spot
from opscenter_connector.local.walking import LEFT_OUT, walk

MAX_MATCHES = 1000  # more than a model reads
MAGIC = frozenset("*?[{\\")


def run(errand: Errand, arguments: Arguments) -> Answer:
    """Look for them."""
    spot, pattern = _begin(errand, arguments)
    wanted = expressions.glob(pattern)
    named = frozenset(name for name in LEFT_OUT if name in pattern.split("/"))
    matches: list[str] = []
    plain: list[str] = []
    all_utf8, more = True, False
    with walk(errand, spot, named) as walking:
        for parts, entry in walking.entries():
            path = "/".join(parts)
            if entry.is_dir(follow_symlinks=False) or not wanted.fullmatch(names.said(path)):
                continue
            if len(matches) == MAX_MATCHES:
                more = True
                break
            found = spot.below(*parts).named
            matches.append(names.said(found))
            plain.append(names.plain(found))
            all_utf8 = all_utf8 and names.is_utf8(found)
    notes = walking.notes()
    if more:
        notes.insert(0, f"there are more; these are the first {MAX_MATCHES:,}: narrow the pattern")
    if not all_utf8:
        notes.append(names.NOT_UTF8)
    return _told(plain, matches, notes, cut=more or walking.cut)


def _begin(errand: Errand, arguments: Arguments) -> tuple[Spot, str]:
    """Where to look, and for what. A pattern may be an absolute path, too."""
    pattern: str = arguments["pattern"]
    if ".." in pattern.split("/"):
        raise ToolError(f"{pattern} has .. in it. Say in path where to look")
    if not pattern.startswith("/"):
        return errand.roots.find(arguments.get("path", ".")), pattern.removeprefix("./")
    if "path" in arguments:
        raise ToolError("the pattern is absolute already. Leave path away, or make it relative")
    parts = pattern.split("/")
    fixed = next((at for at, part in enumerate(parts) if MAGIC & set(part)), len(parts) - 1)
    return errand.roots.find("/".join(parts[:fixed]) or "/"), "/".join(parts[fixed:])


def _told(plain: list[str], matches: list[str], notes: list[str], *, cut: bool) -> Answer:
    blocks = [text("\n".join(plain) if plain else "no file matches")]
    if notes:
        blocks.append(text(f"[{'; '.join(notes)}]"))
    fields: dict[str, Any] = {"matches": matches, "count": len(matches), "truncated": cut}
    return answer(blocks, fields)


TOOL = Tool(
    name="glob",
    title="Find files",
    description=(
        "Finds files by a pattern for their path below `path`: * and ? stand for characters of one "
        "name, ** for any folders, [a-z] for one of these, {a,b} for either. *.py is only the "
        "folder itself, **/*.py all below it. Results are paths as the other tools take them."
    ),
    arguments={
        "pattern": string("Such as **/*.py.", minLength=1, maxLength=expressions.MAX_PATTERN),
        "path": PATH | {"default": "."},
    },
    required=("pattern",),
    fields={
        "matches": listed("The paths, in order.", {"type": "string"}),
        "count": whole("How many there are here."),
        "truncated": boolean("There may be more."),
    },
    always=("matches", "count", "truncated"),
    hints=READ_ONLY,
    run=run,
)
