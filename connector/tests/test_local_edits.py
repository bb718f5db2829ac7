"""Editing: one exact text in the place of another, and nobody else's work undone."""

import anyio
import pytest

from opscenter_connector.local import editing
from tests import allowed
from tests.allowed import Tools

root, tools = allowed.root, allowed.tools


async def test_it_edits_what_is_unique(tools: Tools) -> None:
    path = tools.root / "a"
    path.write_text("one (.*)\ntwo [a] $1 \\1\nthree\n")
    fields = await tools.fields(
        "edit_file", path="a", old_string="two [a] $1 \\1", new_string="(.*) \\g<0> $&"
    )
    assert (fields["replacements"], fields["first_line"]) == (1, 2)
    assert path.read_text() == "one (.*)\n(.*) \\g<0> $&\nthree\n"


async def test_it_edits_everywhere_where_that_is_said(tools: Tools) -> None:
    path = tools.root / "a"
    path.write_text("a b a b a")
    asked = {"path": "a", "old_string": "a", "new_string": ""}
    said = await tools.refusal("edit_file", **asked)
    assert "more than once (lines 1, 1, 1)" in said
    assert "replace_all" in said
    assert path.read_text() == "a b a b a"
    assert (await tools.fields("edit_file", **asked, replace_all=True))["replacements"] == 3
    assert path.read_text() == " b  b "


async def test_a_text_that_overlaps_itself_is_not_unique(tools: Tools) -> None:
    (tools.root / "a").write_text("aaa")
    said = await tools.refusal("edit_file", path="a", old_string="aa", new_string="b")
    assert "more than once" in said


async def test_it_helps_who_missed_the_spaces(tools: Tools) -> None:
    (tools.root / "a").write_text("one\n    two\nthree\n")
    said = await tools.refusal("edit_file", path="a", old_string="\ttwo\nthree", new_string="x")
    assert "like line 2" in said
    said = await tools.refusal("edit_file", path="a", old_string="four", new_string="x")
    assert "exactly, with its spaces" in said


async def test_it_keeps_the_line_ends_of_a_file_from_windows(tools: Tools) -> None:
    path = tools.root / "a"
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await tools.fields("edit_file", path="a", old_string="one\ntwo", new_string="1\n2")
    assert path.read_bytes() == b"1\r\n2\r\nthree\r\n"


@pytest.mark.parametrize(
    ("content", "old", "new", "advice"),
    [
        ("x" * (editing.MAX_BYTES + 1), "x", "y", "can be edited"),
        ("a" * 5000, "a", "b" * 10_000, "can be edited"),
        ("a", "a", "a", "are the same"),
    ],
)
async def test_it_does_not_make_what_it_could_not_edit_again(
    tools: Tools, content: str, old: str, new: str, advice: str
) -> None:
    (tools.root / "a").write_text(content)
    asked = {"path": "a", "old_string": old, "new_string": new, "replace_all": True}
    assert advice in await tools.refusal("edit_file", **asked)
    assert (tools.root / "a").read_text() == content


async def test_it_does_not_undo_what_somebody_else_wrote_meanwhile(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tools.root / "a"
    path.write_text("one two")
    read = editing._count

    def slow(before: str, old: str, *more: object, every: bool) -> int:
        path.write_text("one two three")
        return read(before, old, *more, every=every)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(editing, "_count", slow)
    said = await tools.refusal("edit_file", path="a", old_string="one", new_string="1")
    assert "was changed by somebody else" in said
    assert path.read_text() == "one two three"
    assert sorted(one.name for one in tools.root.iterdir()) == ["a"]


async def test_edits_at_the_same_time_lose_nothing(tools: Tools) -> None:
    path = tools.root / "a"
    path.write_text("".join(f"<{number}>" for number in range(16)))
    results: dict[int, bool] = {}

    async def edit(number: int) -> None:
        change = {"old_string": f"<{number}>", "new_string": f"[{number}]"}
        result = await tools("edit_file", path="a", **change)
        results[number] = not result["isError"]
        assert results[number] or "changed by somebody else" in result["content"][0]["text"]

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(edit, number)
    said = path.read_text()
    assert {number for number, done in results.items() if done} == {
        number for number in range(16) if f"[{number}]" in said
    }
    assert any(results.values())
