"""The tool `edit_file`: puts one exact text in the place of another."""

import os

from opscenter_connector.local import regular, replacing
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import PATH, Arguments, Tool, boolean, string, whole
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError, explained
from opscenter_connector.local.replacing import Identity
from opscenter_connector.local.roots import Spot
from opscenter_connector.local.writing import encoded

MAX_BYTES = 8 * 1024 * 1024  # held in memory a few times; nobody edits a larger text by hand
LINES_NAMED = 5  # of the places where a text stands that should be unique


def run(errand: Errand, arguments: Arguments) -> Answer:
    """Change it."""
    spot = errand.roots.find(arguments["path"])
    old, new = arguments["old_string"], arguments["new_string"]
    encoded(old, "old_string"), encoded(new, "new_string")
    if old == new:
        raise ToolError("old_string and new_string are the same. Say what is to be different")
    before, seen = _text(spot)
    if old not in before and "\r\n" in before:
        old, new = _with_crlf(old), _with_crlf(new)
    count = _count(before, old, spot, every=arguments.get("replace_all", False))
    _fits(spot, len(before) + count * (len(new) - len(old)))
    line = before.count("\n", 0, before.index(old)) + 1
    content = before.replace(old, new).encode()
    _fits(spot, len(content))
    replacing.put(spot, content, over=seen)
    places = f"line {line:,}" if count == 1 else f"{count:,} places, the first in line {line:,}"
    fields = {"path": spot.shown, "replacements": count, "first_line": line}
    return answer([text(f"changed {spot.shown} in {places}")], fields)


def _text(spot: Spot) -> tuple[str, Identity]:
    """The whole text, and the file as it is now. Raises ToolError."""
    try:
        descriptor = spot.opened(os.O_RDONLY)  # no links: what is written would take their place
    except OSError as error:
        raise explained(error, spot.shown) from None
    with os.fdopen(descriptor, "rb") as file:
        found = regular.checked(descriptor, spot)
        _fits(spot, found.st_size)
        raw = file.read(MAX_BYTES + 1)  # it may have grown
    _fits(spot, len(raw))
    try:
        return raw.decode(), replacing.identity(found)
    except UnicodeDecodeError as error:
        raise ToolError(
            f"{spot.shown} is not UTF-8 (at byte {error.start:,}) and would be damaged. Change it "
            "with bash, or convert it first (iconv)"
        ) from None


def _fits(spot: Spot, size: int) -> None:
    if size > MAX_BYTES:
        raise ToolError(
            f"{spot.shown} has, or would have, {size:,} bytes; {MAX_BYTES:,} can be edited. Change "
            "it with bash (sed, python)"
        )


def _with_crlf(said: str) -> str:
    """With the line ends of a file from Windows, which models write as they are used to."""
    return said.replace("\r\n", "\n").replace("\n", "\r\n")


def _count(before: str, old: str, spot: Spot, *, every: bool) -> int:
    """How often `old` is to be replaced. Raises ToolError."""
    first = before.find(old)
    if first < 0:
        raise ToolError(f"old_string is not in {spot.shown}. {_near(before, old)}")
    if every:
        return before.count(old)
    if before.find(old, first + 1) < 0:
        return 1
    lines: list[int] = []
    at = first
    while at >= 0 and len(lines) < LINES_NAMED:
        lines.append(before.count("\n", 0, at) + 1)
        at = before.find(old, at + 1)
    places = ", ".join(f"{line:,}" for line in lines) + (", …" if at >= 0 else "")
    raise ToolError(
        f"old_string is in {spot.shown} more than once (lines {places}). Make it longer until it "
        "is unique, or say replace_all"
    )


def _near(before: str, old: str) -> str:
    """Where its first line stands with other spaces, which is how models mostly miss."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    for number, line in enumerate(before.splitlines(), start=1):
        if wanted and line.strip() == wanted:
            return (
                f"Its first line is like line {number:,}, so spaces or what follows differ. Read "
                f"the file from there (offset {number}) and copy it exactly"
            )
    return "Read the file again, and copy the text exactly, with its spaces"


TOOL = Tool(
    name="edit_file",
    title="Edit a file",
    description=(
        "Replaces old_string by new_string in a UTF-8 text file. old_string must be in the file "
        "exactly once, with all its spaces and line ends, unless replace_all is true. Read the "
        "file first."
    ),
    arguments={
        "path": PATH,
        "old_string": string("The text to replace, exactly as it stands there.", minLength=1),
        "new_string": string("The text that takes its place; may be empty."),
        "replace_all": boolean("Replace every occurrence.", default=False),
    },
    required=("path", "old_string", "new_string"),
    fields={
        "path": string("Where the file is."),
        "replacements": whole("How many places were changed."),
        "first_line": whole("The line in which the first of them begins."),
    },
    always=("path", "replacements", "first_line"),
    hints={
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": False,
        "openWorldHint": False,
    },
    run=run,
)
