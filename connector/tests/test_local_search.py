"""Finding, searching and listing: complete, in order, bounded, and not deceived by names."""

import os
import time
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from opscenter_connector.local import expressions, globbing, grepping, listing, walking
from opscenter_connector.local.builtin import Builtin
from opscenter_connector.local.errand import Errand
from tests import allowed
from tests.allowed import WITHIN_S, Tools

root, tools = allowed.root, allowed.tools


def plant(folder: Path, *paths: str, text: str = "bread\n") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["a.py"]),
        ("**/*.py", ["a.py", "src/b.py", "src/deep/c.py"]),
        ("src/**", ["src/b.py", "src/b.txt", "src/deep/c.py"]),
        ("**/deep/*", ["src/deep/c.py"]),
        ("src/[ab].py", ["src/b.py"]),
        ("src/b.{py,txt}", ["src/b.py", "src/b.txt"]),
        ("?.py", ["a.py"]),
        ("[!a].py", []),
        ("./a.py", ["a.py"]),
        ("A.PY", []),
        (".hidden", [".hidden"]),
        ("a.py/**", []),
        ("}a{{,b},}", []),
        ("node_modules/**", ["node_modules/d.py"]),
    ],
)
async def test_it_finds_files_by_their_paths(tools: Tools, pattern: str, found: list[str]) -> None:
    plant(tools.root, "a.py", "src/b.py", "src/b.txt", "src/deep/c.py", ".hidden")
    plant(tools.root, "node_modules/d.py", ".git/config.py")
    fields = await tools.fields("glob", pattern=pattern)
    assert fields == {"matches": found, "count": len(found), "truncated": False}


async def test_what_it_finds_can_be_read(tools: Tools, tmp_path: Path) -> None:
    plant(tools.root, "src/b.py", "~/odd")
    for asked in (
        {"pattern": "**"},
        {"pattern": f"{tools.root}/**"},
        {"pattern": f"{tools.root}/src/b.py"},
    ):
        for path in (await tools.fields("glob", **asked))["matches"]:
            assert (await tools.fields("read_file", path=path))["content"] == "bread\n"
    assert (await tools.fields("glob", pattern="b.py", path="src"))["matches"] == ["src/b.py"]


async def test_folders_of_other_programs_are_left_out_and_named(tools: Tools) -> None:
    plant(tools.root, "node_modules/a/b.py", "x/.git/c.py", "d.py")
    for asked in ({"pattern": "**/*.py"},):
        result = await tools("glob", **asked)
        assert result["structuredContent"]["matches"] == ["d.py"]
        assert "2 folders like node_modules or .git were left out" in str(result["content"])
    assert (await tools.fields("glob", pattern="**", path="node_modules"))["count"] == 1
    assert (await tools.fields("grep", pattern="bread"))["matches"] == ["d.py:1:bread"]


@pytest.mark.parametrize(
    "pattern", ["[", "a{b", "{" * 9 + "a" + "}" * 9, "x" * 1001, "../*", "[z-a]"]
)
async def test_a_pattern_that_says_nothing_is_refused(tools: Tools, pattern: str) -> None:
    plant(tools.root, "a")
    result = await tools("glob", pattern=pattern)
    assert result["isError"] or result["structuredContent"]["count"] == 0


async def test_it_searches_lines(tools: Tools) -> None:
    plant(tools.root, "a.py", text="one\nTwo for Zoë\r\n\nthree (x)\nend of two")
    plant(tools.root, "b/c.txt", text="two\n")
    find = tools.fields
    assert (await find("grep", pattern="two"))["matches"] == ["a.py:5:end of two", "b/c.txt:1:two"]
    assert (await find("grep", pattern="TWO", ignore_case=True))["count"] == 3
    assert (await find("grep", pattern="^$"))["matches"] == ["a.py:3:"]
    assert (await find("grep", pattern="(x)", literal=True))["matches"] == ["a.py:4:three (x)"]
    assert (await find("grep", pattern="two", include="*.txt"))["matches"] == ["b/c.txt:1:two"]
    assert (await find("grep", pattern="two", include="b/**"))["count"] == 1
    assert (await find("grep", pattern="two", path="b/c.txt"))["matches"] == ["b/c.txt:1:two"]
    assert (await find("grep", pattern="Zo.$", path="a.py"))["count"] == 0  # its line ends in CR
    assert (await find("grep", pattern="ne\nT"))["count"] == 0
    assert (await find("grep", pattern="[^x]*e"))["count"] == 3


async def test_where_a_file_is_cut_for_searching_makes_no_difference(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tools.root, "a", text="".join(f"{'x' * (n % 7)}{n}\n" for n in range(300)) + "end")
    whole = await tools.fields("grep", pattern="(?:9|end)$")
    for size in (1, 2, 7, 64):
        monkeypatch.setattr(grepping, "PIECE_BYTES", size)
        assert await tools.fields("grep", pattern="(?:9|end)$") == whole
    assert whole["matches"][-2:] == ["a:300:xxxxx299", "a:301:end"]
    assert (whole["count"], (await tools.fields("grep", pattern="$"))["count"]) == (31, 301)


async def test_nothing_found_is_an_answer(tools: Tools) -> None:
    plant(tools.root, "a")
    result = await tools("grep", pattern="zzz")
    assert result["isError"] is False
    assert result["content"][0]["text"] == "no line matches in 1 files"


@pytest.mark.parametrize("pattern", ["-e", "--help", "-f/etc/passwd", "--pre=sh", "-r", "$(id)"])
async def test_a_pattern_is_no_option(tools: Tools, pattern: str) -> None:
    plant(tools.root, "a", text=f"see {pattern} here\n-q\n")
    asked = {"pattern": pattern, "literal": True, "path": "a", "include": "*"}
    assert (await tools.fields("grep", **asked))["matches"] == [f"a:1:see {pattern} here"]
    plant(tools.root, "-rf", "--help")
    assert (await tools.fields("grep", pattern="bread", path="--help"))["count"] == 1


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*b", "(a+)+$b", "^(a|aa)+c", "(.*a){30}b", "(a?){200}a{200}b", "(x+x+)+y", ".*.*.*=.*"],
)
async def test_no_pattern_takes_for_ever(tools: Tools, pattern: str) -> None:
    plant(tools.root, "a", text=("a" * 100_000 + "\n") * 20)
    began = time.monotonic()
    await tools.fields("grep", pattern=pattern)
    assert time.monotonic() - began < 5


async def test_the_worst_pattern_costs_little_more_than_its_time(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "SEARCH_S", 1.0)
    plant(tools.root, "a", text=("abcdefgh " * 100 + "\n") * 2000)
    plant(tools.root, "b", text="abcdefgh " * 200_000)
    for pattern in ("(a|ab|abc|.){1000}X", "(?:.{0,30}[a-h]{0,30}){30}X"):
        began = time.monotonic()
        fields = await tools.fields("grep", pattern=pattern)
        assert fields["truncated"] is True
        assert time.monotonic() - began < 10


async def test_a_line_of_megabytes_is_searched_in_its_beginning(tools: Tools) -> None:
    long = "x" * 20_000 + "here" + "x" * 3_000_000 + "there"
    plant(tools.root, "a", text=f"{long}\nthere\n")
    assert [found[:4] for found in (await tools.fields("grep", pattern="here"))["matches"]] == [
        "a:1:",
        "a:2:",
    ]
    assert (await tools.fields("grep", pattern="there"))["matches"] == ["a:2:there"]


async def test_no_glob_takes_for_ever(tools: Tools) -> None:
    plant(tools.root, "a" * 200, "d/" + "a" * 200)
    began = time.monotonic()
    for pattern in ("*a" * 100 + "b", "**/" * 50 + "b", "{a,aa}" * 60 + "b", "**/*" * 80):
        assert (await tools("glob", pattern=pattern))["content"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "a(?<!b)", r"(a)\1", "[z-a]", "a{1001}", "*"])
async def test_it_says_what_is_wrong_about_a_pattern(tools: Tools, pattern: str) -> None:
    said = await tools.refusal("grep", pattern=pattern)
    assert "is not understood" in said
    assert "literal" in said


async def test_data_is_passed_by(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grepping, "MAX_FILE_BYTES", 1000)
    (tools.root / "binary").write_bytes(b"bread\0")
    plant(tools.root, "large", text="bread\n" * 1000)
    plant(tools.root, "latin")
    (tools.root / "latin").write_bytes("Zoë bread\n".encode("latin-1"))
    result = await tools("grep", pattern="bread")
    assert result["structuredContent"]["matches"] == ["latin:1:Zo\ufffd bread"]
    assert "1 files of more than" in str(result["content"])
    assert "larger than" in await tools.refusal("grep", pattern="bread", path="large")


async def test_what_is_found_is_bounded(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (globbing, grepping):
        monkeypatch.setattr(module, "MAX_MATCHES", 3)
    monkeypatch.setattr(listing, "MAX_ENTRIES", 3)
    plant(tools.root, *"abcdef", text="bread " + "x" * 500)
    for tool, asked in (("glob", {"pattern": "*"}), ("grep", {"pattern": "bread"})):
        result = await tools(tool, **asked)
        assert (result["structuredContent"]["count"], result["structuredContent"]["truncated"]) == (
            3,
            True,
        )
        assert "there are more" in result["content"][1]["text"]
    listed = await tools("list_directory")
    assert listed["structuredContent"]["count"] == 3
    assert "the first 3 of 6" in listed["content"][1]["text"]
    assert len((await tools.fields("grep", pattern="bread"))["matches"][0]) < 400


async def test_time_is_bounded_and_what_was_found_by_then_is_told(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "SEARCH_S", 0.0)
    plant(tools.root, "a")
    for tool in ("glob", "grep"):
        result = await tools(tool, pattern="a")
        assert result["structuredContent"]["truncated"] is True
        assert "not everything was looked at" in str(result["content"])


async def test_names_do_not_deceive(tools: Tools) -> None:
    odd = [
        "two\nlines",
        "red\x1b[31m",
        "\u202etxt.exe",
        "zero\u200bwidth",
        " space",
        'quo"te',
        "Zoë",
    ]
    plant(tools.root, *odd)
    for tool, asked in (
        ("list_directory", {}),
        ("glob", {"pattern": "*"}),
        ("grep", {"pattern": "b"}),
    ):
        result = await tools(tool, **asked)
        said = result["content"][0]["text"]
        assert len(said.split("\n")) == len(odd)
        assert not set("\x1b\u202e\u200b") & set(said)
        assert '"two\\nlines"' in said
        assert "Zoë" in said
    # As data the names are what they are, and can be used.
    matches = (await tools.fields("glob", pattern="*"))["matches"]
    assert sorted(matches) == sorted(odd)
    for path in matches:
        assert (await tools.fields("read_file", path=path))["content"] == "bread\n"


async def test_names_that_are_not_utf8_are_told_apart(tools: Tools) -> None:
    (tools.root / os.fsdecode(b"caf\xe9")).write_text("bread\n")
    listed = await tools("list_directory")
    assert listed["structuredContent"]["entries"] == [
        {"name": "caf\\xe9", "type": "file", "size": 6}
    ]
    assert "not UTF-8" in listed["content"][1]["text"]
    assert (await tools.fields("glob", pattern="caf*"))["matches"] == ["caf\\xe9"]
    assert (await tools.fields("grep", pattern="bread"))["matches"] == ["caf\\xe9:1:bread"]


async def test_it_lists_what_there_is(tools: Tools) -> None:
    plant(tools.root, "b.txt", "a/x")
    (tools.root / "link").symlink_to("/etc/passwd")
    os.mkfifo(tools.root / "pipe")
    result = await tools("list_directory", path=".")
    kinds = {entry["name"]: entry["type"] for entry in result["structuredContent"]["entries"]}
    assert kinds == {"a": "directory", "b.txt": "file", "link": "link", "pipe": "other"}
    assert result["content"][0]["text"].split("\n")[:2] == ["a/", "b.txt  (6 bytes)"]
    assert (await tools("list_directory", path="a"))["structuredContent"]["count"] == 1
    assert "is no folder" in await tools.refusal("list_directory", path="b.txt")


async def test_a_deep_tree_is_walked(tools: Tools) -> None:
    deep = "/".join(["d"] * 500)
    plant(tools.root, f"{deep}/leaf")
    assert (await tools.fields("glob", pattern="**/leaf"))["matches"] == [f"{deep}/leaf"]


def test_a_glob_says_what_it_means() -> None:
    assert expressions.glob("a+b(c).$^|").fullmatch("a+b(c).$^|")
    assert expressions.glob("[a^]").fullmatch("^")
    assert not expressions.glob("[!a]").fullmatch("/")
    assert expressions.glob("\\*").fullmatch("*")
    assert expressions.glob("{a,b,}c,d").fullmatch("c,d")


async def test_a_search_that_nobody_waits_for_is_told_to_stop(tools: Tools) -> None:
    sent: list[Errand] = []

    def run(errand: Errand, _: object) -> dict[str, object]:
        sent.append(errand)
        errand.called_back.wait(WITHIN_S)
        return {}

    builtin = Builtin(tools.builtin.roots, (replace(grepping.TOOL, run=run),))
    with anyio.move_on_after(0.2) as patience:
        await builtin.call("grep", {"pattern": "a"}, within_s=WITHIN_S)
    assert patience.cancelled_caught
    assert [errand.is_over for errand in sent] == [True]
