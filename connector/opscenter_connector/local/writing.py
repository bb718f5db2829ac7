"""The tool `write_file`: a new file, or a file's new content."""

from opscenter_connector.local import replacing
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import PATH, Arguments, Tool, boolean, string, whole
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError


def run(errand: Errand, arguments: Arguments) -> Answer:
    """Write it."""
    spot = errand.roots.find(arguments["path"])
    content = encoded(arguments["content"], "content")
    created = replacing.put(spot, content)
    what = "a new file" if created else "in place of what was there"
    said = f"wrote {len(content):,} bytes to {spot.shown}, {what}"
    fields = {"path": spot.shown, "bytes_written": len(content), "created": created}
    return answer([text(said)], fields)


def encoded(said: str, name: str) -> bytes:
    """As UTF-8. Raises ToolError."""
    try:
        return said.encode()
    except UnicodeEncodeError as error:
        raise ToolError(
            f"{name} has half of a character at position {error.start}, which no file can hold"
        ) from None


TOOL = Tool(
    name="write_file",
    title="Write a file",
    description=(
        "Writes a text file, in place of the one that is there, if one is; folders on the way are "
        "made. Either all of it is written or nothing. To change a part of a file use edit_file."
    ),
    arguments={
        "path": PATH,
        "content": string("The whole text of the file. It is written as UTF-8, unchanged."),
    },
    required=("path", "content"),
    fields={
        "path": string("Where the file is."),
        "bytes_written": whole("The size of the file now."),
        "created": boolean("Whether there was no such file before."),
    },
    always=("path", "bytes_written", "created"),
    hints={
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": False,  # done again later, it would undo what came in between
        "openWorldHint": False,
    },
    run=run,
)
