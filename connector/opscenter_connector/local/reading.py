"""The tool `read_file`: a page of a text, or a picture."""

import base64
import codecs
from dataclasses import dataclass
from typing import Any, BinaryIO

from opscenter_connector.local import regular
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import PATH, READ_ONLY, Arguments, Tool, string, whole
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError
from opscenter_connector.local.roots import Spot

UTF8 = codecs.getincrementaldecoder("utf-8")
DEFAULT_LINES = 2000
MAX_LINES = 100_000
MAX_PAGE_BYTES = 120 * 1024  # twice in a result, as text and as data, with room for escapes
MAX_SCANNED_BYTES = 64 * 1024 * 1024  # to find a line; a file beyond it is for the shell
MAX_IMAGE_BYTES = 700 * 1024  # in base64 what a result may have
HEAD_BYTES = 8192  # by which the kind of a file is known, as `grep` and `git` do it
CHECK_LINES = 4096  # between two looks at the clock

IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(slots=True)
class Page:
    """Lines of a file. `total` is unknown where the file was not read to its end."""

    first: int
    raw: bytes = b""
    lines: int = 0
    cut: bool = False  # its only line is longer than a page
    total: int | None = None


def run(errand: Errand, arguments: Arguments) -> Answer:
    """Read it."""
    spot = errand.roots.find(arguments["path"])
    with regular.read(spot) as (file, status):
        head = file.read(HEAD_BYTES)
        if kind := image_kind(head):
            return _picture(spot, head, file, kind, status.st_size)
        if b"\0" in head:
            raise ToolError(_binary(spot, head, status.st_size))
        file.seek(0)
        # For JSON 2.0 is a whole number, too.
        offset, limit = int(arguments.get("offset", 1)), int(arguments.get("limit", DEFAULT_LINES))
        page = _page(errand, file, offset, limit)
    return _told(spot, page, status.st_size)


def image_kind(head: bytes) -> str:
    """The type of a picture that begins so, or nothing."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in IMAGES.items() if head.startswith(magic)), "")


def _picture(spot: Spot, head: bytes, file: BinaryIO, kind: str, size: int) -> Answer:
    # The size may be a lie by now: what is read is bounded, not what was said.
    raw = head + file.read(MAX_IMAGE_BYTES + 1 - len(head))
    if len(raw) > MAX_IMAGE_BYTES:
        raise ToolError(
            f"{spot.shown} is a picture of {size:,} bytes; {MAX_IMAGE_BYTES:,} can be shown. Make "
            "a smaller copy of it with bash"
        )
    data = base64.b64encode(raw).decode()
    blocks = [{"type": "image", "data": data, "mimeType": kind}]
    return answer(blocks, {"path": spot.shown, "mime_type": kind, "size": len(raw)})


def _binary(spot: Spot, head: bytes, size: int) -> str:
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return f"{spot.shown} is UTF-16. Convert it with bash: iconv -f UTF-16 -t UTF-8"
    return f"{spot.shown} is no text ({size:,} bytes). Look at it with bash: file, strings or xxd"


def _page(errand: Errand, file: BinaryIO, offset: int, limit: int) -> Page:
    """The lines from `offset` on, as many as are wanted and fit."""
    page = Page(first=offset)
    beyond = offset + limit
    kept: list[bytes] = []
    number, room = 0, MAX_PAGE_BYTES
    scanned, fresh = 0, True
    while scanned < MAX_SCANNED_BYTES:
        part = file.readline(MAX_PAGE_BYTES)
        if not part:
            page.total = number
            break
        scanned += len(part)
        number += fresh
        if number % CHECK_LINES == 0 and errand.is_over:
            break
        if offset <= number < beyond and fresh:
            if len(part) > room:
                beyond = number
            else:
                kept.append(part)
                room -= len(part)
                page.cut = len(part) == MAX_PAGE_BYTES and not part.endswith(b"\n")
        fresh = part.endswith(b"\n")
    page.raw, page.lines = b"".join(kept), len(kept)
    return page


def _told(spot: Spot, page: Page, size: int) -> Answer:
    last = page.first + page.lines - 1
    more = page.total is None or last < page.total
    try:
        # Where a line is cut, so may be its last character.
        content, note = UTF8().decode(page.raw, final=not page.cut), ""
    except UnicodeDecodeError:
        content = page.raw.decode(errors="replace")
        note = "it is not UTF-8; what is none is shown as \ufffd"
    blocks = [text(content)] if content else []
    notes = [note, *_notes(page, last, more=more)]
    if said := "; ".join(note for note in notes if note):
        blocks.append(text(f"[{said}]"))
    fields: dict[str, Any] = {
        "path": spot.shown,
        "content": content,
        "size": size,
        "first_line": page.first,
        "lines": page.lines,
        "total_lines": page.total,
        "truncated": more and page.total != 0,
    }
    return answer(blocks, fields)


def _notes(page: Page, last: int, *, more: bool) -> list[str]:
    if page.total == 0:
        return ["the file is empty"]
    if not page.lines and page.total is None:
        most = MAX_SCANNED_BYTES // 1024**2
        return [f"line {page.first:,} is not in the first {most} MiB: use bash (sed -n)"]
    if not page.lines:
        return [f"there is no line {page.first:,}; the file has {page.total:,}"]
    notes = []
    if page.cut:
        notes.append(f"line {page.first:,} is longer than {MAX_PAGE_BYTES:,} bytes and is cut")
    if more:
        of = "" if page.total is None else f" of {page.total:,}"
        notes.append(f"lines {page.first:,} to {last:,}{of}; go on with offset {last + 1}")
    return notes


TOOL = Tool(
    name="read_file",
    title="Read a file",
    description=(
        "Reads a text file, or shows a picture (PNG, JPEG, GIF, WebP). Long files come in pages: "
        f"{DEFAULT_LINES} lines or {MAX_PAGE_BYTES // 1024} KiB, whichever is less, from the line "
        "`offset` on."
    ),
    arguments={
        "path": PATH,
        "offset": whole("The first line, counted from 1.", minimum=1, default=1),
        "limit": whole(
            "So many lines at most.", minimum=1, maximum=MAX_LINES, default=DEFAULT_LINES
        ),
    },
    required=("path",),
    fields={
        "path": string("Where the file is."),
        "content": string("The text. A picture has none; it stands in the content."),
        "size": whole("Bytes of the whole file."),
        "first_line": whole("The number of the first line in `content`."),
        "lines": whole("How many lines `content` has."),
        "total_lines": whole("How many the file has, where it was read to its end."),
        "truncated": {"type": "boolean", "description": "There is more after these lines."},
        "mime_type": string("Of a picture."),
    },
    always=("path", "size"),
    hints=READ_ONLY,
    run=run,
)
