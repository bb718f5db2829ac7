"""Reading and writing: what is there afterwards, and what a model is told."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector.local import reading
from tests import allowed
from tests.allowed import Tools

root, tools = allowed.root, allowed.tools

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64


async def test_it_reads_a_text_as_it_is(tools: Tools) -> None:
    text = "\ufeffbread\r\nrolls for Zoë\n\n\tend\u2028of it"
    (tools.root / "a").write_bytes(text.encode())
    result = await tools("read_file", path="a")
    assert result["content"] == [{"type": "text", "text": text}]
    assert result["structuredContent"] == {
        "path": str(tools.root / "a"),
        "content": text,
        "size": len(text.encode()),
        "first_line": 1,
        "lines": 4,
        "total_lines": 4,
        "truncated": False,
    }


async def test_it_reads_page_by_page(tools: Tools) -> None:
    lines = [f"line {number}\n" for number in range(1, 5001)]
    (tools.root / "a").write_text("".join(lines))
    offset, pages = 1, []
    while True:
        fields = await tools.fields("read_file", path="a", offset=offset)
        pages.append(fields["content"])
        if not fields["truncated"]:
            break
        offset += fields["lines"]
    assert "".join(pages) == "".join(lines)
    assert len(pages) == 3
    page = await tools("read_file", path="a", offset=4999.0, limit=1.0)
    assert page["content"][0]["text"] == "line 4999\n"
    assert page["content"][1]["text"] == "[lines 4,999 to 4,999 of 5,000; go on with offset 5000]"


async def test_it_says_when_there_is_no_such_line(tools: Tools) -> None:
    (tools.root / "a").write_text("one\n")
    (tools.root / "empty").write_text("")
    beyond = await tools("read_file", path="a", offset=3)
    assert beyond["content"][0]["text"] == "[there is no line 3; the file has 1]"
    empty = await tools("read_file", path="empty")
    assert empty["content"][0]["text"] == "[the file is empty]"
    assert empty["structuredContent"]["truncated"] is False


async def test_a_page_is_bounded_in_bytes_and_a_long_line_is_cut(tools: Tools) -> None:
    (tools.root / "a").write_text("x" * 1_000_000 + "\nsecond\n" + "y" * 200_000)
    first = await tools.fields("read_file", path="a")
    assert (first["lines"], len(first["content"])) == (1, reading.MAX_PAGE_BYTES)
    second = await tools.fields("read_file", path="a", offset=2)
    assert second["content"] == "second\n"
    third = await tools("read_file", path="a", offset=3)
    assert "is cut" in third["content"][1]["text"]


async def test_a_cut_line_is_cut_between_characters(tools: Tools) -> None:
    (tools.root / "a").write_text("x" + "ë" * reading.MAX_PAGE_BYTES)
    result = await tools("read_file", path="a")
    assert set(result["structuredContent"]["content"][1:]) == {"ë"}
    assert "not UTF-8" not in str(result["content"][1:])


async def test_a_file_without_end_is_read_to_a_bound(tools: Tools) -> None:
    with (tools.root / "sparse").open("wb") as file:
        file.write(b"x" * reading.HEAD_BYTES + b"\n")
        file.truncate(10 * 1024**3)
    fields = await tools.fields("read_file", path="sparse", offset=1, limit=1)
    assert fields["lines"] == 1
    assert "total_lines" not in fields
    assert fields["truncated"] is True
    said = await tools("read_file", path="sparse", offset=9)
    assert said["content"][0]["text"] == "[line 9 is not in the first 64 MiB: use bash (sed -n)]"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
async def test_it_shows_pictures(tools: Tools, head: bytes, kind: str) -> None:
    (tools.root / "a.bin").write_bytes(head)
    result = await tools("read_file", path="a.bin")
    (block,) = result["content"]
    assert (block["type"], block["mimeType"]) == ("image", kind)
    assert base64.b64decode(block["data"]) == head
    assert result["structuredContent"]["mime_type"] == kind


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (PNG + b"\0" * reading.MAX_IMAGE_BYTES, "smaller copy"),
        (b"\x7fELF\0\0", "strings or xxd"),
        ("bread".encode("utf-16"), "iconv"),
    ],
)
async def test_what_is_no_text_is_for_the_shell(tools: Tools, content: bytes, advice: str) -> None:
    (tools.root / "a").write_bytes(content)
    assert advice in await tools.refusal("read_file", path="a")


async def test_text_that_is_not_utf8_is_shown_and_not_edited(tools: Tools) -> None:
    raw = "Zoë bakes".encode("latin-1")
    (tools.root / "a").write_bytes(raw)
    result = await tools("read_file", path="a")
    assert result["content"][0]["text"] == "Zo\ufffd bakes"
    assert "not UTF-8" in result["content"][1]["text"]
    said = await tools.refusal("edit_file", path="a", old_string="bakes", new_string="eats")
    assert "at byte 2" in said
    assert (tools.root / "a").read_bytes() == raw


async def test_it_writes_new_files_and_the_folders_on_the_way(tools: Tools) -> None:
    fields = await tools.fields("write_file", path="a/b/c.txt", content="Zoë\r\n")
    path = tools.root / "a" / "b" / "c.txt"
    assert fields == {"path": str(path), "bytes_written": 6, "created": True}
    assert path.read_bytes() == "Zoë\r\n".encode()
    assert [one.name for one in path.parent.iterdir()] == ["c.txt"]


async def test_it_keeps_the_mode_of_a_file_but_no_setuid(tools: Tools) -> None:
    path = tools.root / "run.sh"
    path.write_text("old")
    path.chmod(0o4750)
    fields = await tools.fields("write_file", path="run.sh", content="new")
    assert fields["created"] is False
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


async def test_a_new_file_has_the_mode_that_the_umask_leaves(tools: Tools) -> None:
    before = os.umask(0o027)
    try:
        await tools.fields("write_file", path="a", content="")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tools.root / "a").stat().st_mode) == 0o640


async def test_who_reads_meanwhile_sees_the_old_or_the_new(tools: Tools) -> None:
    path = tools.root / "a"
    path.write_text("old")
    with path.open() as file:
        await tools.fields("write_file", path="a", content="new")
        assert file.read() == "old"


@pytest.mark.parametrize("path", [".", "folder", "file/below", "x" * 300])
async def test_it_says_why_it_cannot_write(tools: Tools, path: str) -> None:
    (tools.root / "folder").mkdir()
    (tools.root / "file").write_text("stays")
    said = await tools.refusal("write_file", path=path, content="x")
    assert "folder" in said or "shorter" in said
    assert (tools.root / "file").read_text() == "stays"


async def test_it_does_not_write_half_a_character(tools: Tools) -> None:
    said = await tools.refusal("write_file", path="a", content="ab\ud83d")
    assert "half of a character at position 2" in said
    assert not (tools.root / "a").exists()


async def test_it_refuses_what_may_not_be_written(tools: Tools, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    (tools.root / "a").write_text("stays")
    (tools.root / "a").chmod(0o444)
    assert "may not be opened" in await tools.refusal("write_file", path="a", content="x")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "read_file needs the argument path: A path in an allowed folder"),
        ({"path": 7}, "path must be text"),
        ({"path": "a", "Offset": 1}, "has no argument 'Offset'; there are path, offset, limit"),
        ({"path": "a", "offset": 0}, "offset must be 1 or more"),
        ({"path": "a", "limit": 1.5}, "limit must be a whole number"),
        ({"path": ["a"]}, "path must be text"),
    ],
)
async def test_it_says_what_is_wrong_about_the_arguments(
    tools: Tools, arguments: dict[str, object], reason: str
) -> None:
    assert reason in await tools.refusal("read_file", **arguments)


@pytest.mark.parametrize("arguments", [[], "path", 7, [["path", "a"]]])
async def test_arguments_are_an_object(tools: Tools, arguments: Any) -> None:
    result = await tools.builtin.call("read_file", arguments, within_s=1)
    assert "must be an object" in result["content"][0]["text"]


@pytest.mark.parametrize("name", ["Read_File", "read_file ", "r\u0435ad_file", "", "x" * 10_000])
async def test_a_tool_has_one_name(tools: Tools, name: str) -> None:
    said = await tools.refusal(name, path="a")
    assert "there are read_file, write_file" in said
    assert len(said) < 1000


async def test_it_says_what_its_tools_do() -> None:
    hints = {tool["name"]: tool["annotations"] for tool in Tools(Path("/")).builtin.definitions}
    reads = {name for name, said in hints.items() if said["readOnlyHint"]}
    assert reads == {"read_file", "glob", "grep", "list_directory"}
    assert {name for name, said in hints.items() if said.get("destructiveHint")} == {
        "write_file",
        "edit_file",
    }
