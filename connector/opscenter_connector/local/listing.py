"""The tool `list_directory`: what lies in a folder."""

import itertools
import os
from typing import Any

from opscenter_connector.local import names, regular
from opscenter_connector.local.answers import Answer, answer, text
from opscenter_connector.local.defining import (
    PATH,
    READ_ONLY,
    Arguments,
    Tool,
    boolean,
    listed,
    shape,
    string,
    whole,
)
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.walking import MAX_FOLDER_ENTRIES

MAX_ENTRIES = 1000  # more than a model reads


def run(errand: Errand, arguments: Arguments) -> Answer:
    """List it."""
    spot = errand.roots.find(arguments.get("path", "."))
    with regular.folder(spot) as descriptor, os.scandir(descriptor) as scanned:
        some = list(itertools.islice(scanned, MAX_FOLDER_ENTRIES))
        ordered = sorted(some, key=lambda entry: entry.name)[:MAX_ENTRIES]
        entries = [_entry(entry) for entry in ordered]
    lines = [_line(entry.name, told) for entry, told in zip(ordered, entries, strict=True)]
    notes = []
    if len(some) > len(entries):
        total = f"{len(some):,}" + ("" if len(some) < MAX_FOLDER_ENTRIES else " or more")
        notes.append(f"the first {len(entries):,} of {total}; find others with glob")
    if not all(names.is_utf8(entry.name) for entry in ordered):
        notes.append(names.NOT_UTF8)
    blocks = [text("\n".join(lines) or "the folder is empty")]
    if notes:
        blocks.append(text(f"[{'; '.join(notes)}]"))
    fields = {
        "path": spot.shown,
        "entries": entries,
        "count": len(entries),
        "truncated": len(some) > len(entries),
    }
    return answer(blocks, fields)


def _entry(entry: "os.DirEntry[str]") -> dict[str, Any]:
    told: dict[str, Any] = {"name": names.said(entry.name), "type": _kind(entry)}
    try:
        told["size"] = entry.stat(follow_symlinks=False).st_size
    except OSError:
        told["size"] = 0  # it is gone, or nobody may know
    return told


def _kind(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _line(name: str, told: dict[str, Any]) -> str:
    plain = names.plain(name)
    if told["type"] == "directory":
        return f"{plain}/"
    kind = "" if told["type"] == "file" else f", {told['type']}"
    return f"{plain}  ({told['size']:,} bytes{kind})"


TOOL = Tool(
    name="list_directory",
    title="List a folder",
    description="Lists the names in a folder, with their kind and size, in order.",
    arguments={"path": PATH | {"default": "."}},
    fields={
        "path": string("Where the folder is."),
        "entries": listed(
            "What is in it.",
            shape(
                {
                    "name": string("Its name."),
                    "type": string("What it is.", enum=["directory", "file", "link", "other"]),
                    "size": whole("In bytes."),
                },
                ("name", "type", "size"),
            ),
        ),
        "count": whole("How many entries there are here."),
        "truncated": boolean("There are more."),
    },
    always=("path", "entries", "count", "truncated"),
    hints=READ_ONLY,
    run=run,
)
