"""The tool `grep`: which lines of which files match."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opscenter_connector.local import expressions, names, regular
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
from opscenter_connector.local.reading import HEAD_BYTES
from opscenter_connector.local.roots import Spot
from opscenter_connector.local.walking import Walk, walk

MAX_MATCHES = 500  # lines; more than a model reads
MAX_LINE_CHARS = 300  # of one of them
MAX_FILE_BYTES = 16 * 1024 * 1024  # held in memory; what is larger is data
# Between two looks at the clock. RE2 takes a second for that, with the worst pattern it takes.
PIECE_BYTES = 16 * 1024
SEARCHED_BYTES = 64 * 1024  # of a line; what is longer is no text that people write


@dataclass(slots=True, kw_only=True)
class Search:
    """What is looked for, and what has been found."""

    errand: Errand
    wanted: Any
    include: Any = None
    lines: list[str] = field(default_factory=list)  # as data
    plain: list[str] = field(default_factory=list)  # for reading
    files: int = 0
    large: int = 0
    cut: bool = False
    all_utf8: bool = True

    @property
    def is_over(self) -> bool:
        self.cut = self.cut or self.errand.is_over or len(self.lines) >= MAX_MATCHES
        return self.cut

    def take(self, name: str, raw: bytes) -> None:
        """All matches in one file."""
        if b"\0" in raw[:HEAD_BYTES]:
            return
        self.files += 1
        for number, line in _matching(self, raw):
            told = line.decode(errors="replace").rstrip("\r")
            if len(told) > MAX_LINE_CHARS:
                told = told[:MAX_LINE_CHARS] + "…"
            self.lines.append(f"{names.said(name)}:{number}:{told}")
            self.plain.append(f"{names.plain(name)}:{number}:{told}")
            self.all_utf8 = self.all_utf8 and names.is_utf8(name)


def run(errand: Errand, arguments: Arguments) -> Answer:
    """Search."""
    wanted = expressions.expression(
        arguments["pattern"],
        literal=arguments.get("literal", False),
        ignore_case=arguments.get("ignore_case", False),
    )
    include = arguments.get("include")
    search = Search(
        errand=errand, wanted=wanted, include=expressions.glob(include) if include else None
    )
    spot = errand.roots.find(arguments.get("path", "."))
    notes = _below(search, spot) if regular.is_folder(spot) else _one(search, spot)
    return _told(search, notes)


def _one(search: Search, spot: Spot) -> list[str]:
    with regular.read(spot) as (file, _):
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise ToolError(f"{spot.shown} is larger than {MAX_FILE_BYTES:,} bytes. Use bash: grep")
    search.take(spot.named, raw)
    return []


def _below(search: Search, spot: Spot) -> list[str]:
    with walk(search.errand, spot) as walking:
        search.errand = walking.errand  # it has less time
        for parts, entry in walking.entries():
            if search.is_over:
                break
            if entry.is_file(follow_symlinks=False) and _is_included(search, parts):
                _file(search, walking, spot, parts)
    search.cut = search.cut or walking.cut
    walking.cut = walking.cut or search.errand.is_over
    return walking.notes()


def _is_included(search: Search, parts: tuple[str, ...]) -> bool:
    """By its name alone, or by its path."""
    if search.include is None:
        return True
    said = (names.said(parts[-1]), names.said("/".join(parts)))
    return any(search.include.fullmatch(one) for one in said)


def _file(search: Search, walking: Walk, spot: Spot, parts: tuple[str, ...]) -> None:
    file = walking.opened(parts)
    if file is None:
        return
    with file:
        if not regular.is_regular(file.fileno()):
            return  # it has become something else since it was listed
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        search.large += 1
        return
    search.take(spot.below(*parts).named, raw)


def _matching(search: Search, raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Each line that matches, once, with its number."""
    number = counted = at = 0
    while at < len(raw) and not search.is_over:
        end = _line_end(raw, min(at + PIECE_BYTES, len(raw)))
        until = min(end, at + max(PIECE_BYTES, SEARCHED_BYTES))
        while at <= end and not search.is_over:
            found = search.wanted.search(raw, at, until)
            if found is None:
                break
            begin = raw.rfind(b"\n", 0, found.start()) + 1
            if begin == len(raw):
                break  # nothing, after the last line
            finish = _line_end(raw, max(found.end(), begin))
            number += raw.count(b"\n", counted, begin)
            counted = begin
            yield number + 1, raw[begin:finish]
            at = finish + 1
        at = end + 1


def _line_end(raw: bytes, at: int) -> int:
    found = raw.find(b"\n", at)
    return len(raw) if found < 0 else found


def _told(search: Search, notes: list[str]) -> Answer:
    if len(search.lines) >= MAX_MATCHES:
        notes.insert(0, f"there are more; these are the first {MAX_MATCHES:,}: narrow the pattern")
    if search.large:
        notes.append(f"{search.large:,} files of more than {MAX_FILE_BYTES:,} bytes were left out")
    if not search.all_utf8:
        notes.append(names.NOT_UTF8)
    said = "\n".join(search.plain) or f"no line matches in {search.files:,} files"
    blocks = [text(said)]
    if notes:
        blocks.append(text(f"[{'; '.join(notes)}]"))
    fields = {
        "matches": search.lines,
        "count": len(search.lines),
        "files_searched": search.files,
        "truncated": search.cut,
    }
    return answer(blocks, fields)


TOOL = Tool(
    name="grep",
    title="Search in files",
    description=(
        "Searches text files for lines that match a regular expression (RE2's syntax: no "
        "lookaround and no backreferences), in one file or all below a folder. Each result is "
        "path:line number:line."
    ),
    arguments={
        "pattern": string(
            "A regular expression, for one line.", minLength=1, maxLength=expressions.MAX_PATTERN
        ),
        "path": PATH | {"default": "."},
        "include": string(
            "Only files whose name or path below `path` matches this glob, such as *.py.",
            minLength=1,
            maxLength=expressions.MAX_PATTERN,
        ),
        "ignore_case": boolean("Take upper and lower case for the same.", default=False),
        "literal": boolean("The pattern is a plain text, no expression.", default=False),
    },
    required=("pattern",),
    fields={
        "matches": listed("path:line number:line, in order.", {"type": "string"}),
        "count": whole("How many there are here."),
        "files_searched": whole("In how many text files was looked."),
        "truncated": boolean("There may be more."),
    },
    always=("matches", "count", "truncated"),
    hints=READ_ONLY,
    run=run,
)
