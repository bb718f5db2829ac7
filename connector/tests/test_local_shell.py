"""The tool `bash`: what comes of a command, and what a model is told where nothing does."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from opscenter_connector import sandbox
from opscenter_connector.happenings import SandboxFound
from opscenter_connector.local import commanding
from opscenter_connector.local.builtin import TOOLS, Builtin
from opscenter_connector.local.roots import Roots
from opscenter_connector.sandbox import Layer, SandboxError, Standing
from opscenter_connector.settings import LocalSpec
from tests import allowed
from tests.allowed import Tools
from tests.serving import Serving, names

root, outside = allowed.root, allowed.outside
AT_ONCE_S = 1.0  # after its bound a command is gone


def objects(command: str) -> str | None:
    return "it removes everything" if "rm -rf /" in command else None


@pytest.fixture(scope="module")
def layer() -> Layer:
    """What holds here, found once."""
    return asyncio.run(sandbox.survey([])).layer


@pytest.fixture
def tools(root: Path, layer: Layer) -> Iterator[Tools]:
    found = Tools(root)
    standing = Standing(layer=layer)
    shell = commanding.tool(standing, objects)
    found.builtin = Builtin(found.builtin.roots, (*TOOLS, shell), layer=layer.value)
    yield found
    found.builtin.roots.close()


async def test_it_says_what_a_command_said(tools: Tools, layer: Layer) -> None:
    result = await tools("bash", command="echo bread; echo oh >&2; exit 3")
    fields = result["structuredContent"]
    assert (fields["stdout"], fields["stderr"]) == ("bread\n", "oh\n")
    assert (fields["returncode"], fields["ended"]) == (3, "exit")
    assert result["isError"] is True
    assert [block["text"] for block in result["content"]] == [
        "bread\n",
        "[standard error]\noh\n",
        "[exit code 3]",
    ]
    assert result["_meta"] == {"opscenter/sandbox": layer.value, "opscenter/exit": 3}


async def test_files_and_commands_are_of_one_folder(tools: Tools) -> None:
    await tools.fields("write_file", path="src/bake.py", content="print('bread')\n")
    said = await tools.fields("bash", command="python3 bake.py > out; pwd", cwd="src")
    assert said["stdout"] == f"{tools.root}/src\n"
    assert (await tools.fields("read_file", path="src/out"))["content"] == "bread\n"
    assert (await tools("bash", command="true"))["content"][0]["text"] == "[done, without output]"


async def test_a_command_is_ended_at_its_bound_with_all_that_it_started(tools: Tools) -> None:
    began = time.monotonic()
    command = "trap '' TERM; (setsid sleep 600 &); echo begun; while :; do sleep 1; done"
    result = await tools("bash", command=command, timeout=0.5)
    assert time.monotonic() - began < 0.5 + AT_ONCE_S
    assert result["structuredContent"]["ended"] == "timeout"
    assert result["structuredContent"]["stdout"] == "begun\n"
    assert "give it a longer timeout" in result["content"][-1]["text"]


async def test_a_call_that_nobody_waits_for_any_more_is_ended(tools: Tools) -> None:
    marker = tools.root / "marker"
    with anyio.move_on_after(1):
        await tools("bash", command="touch begun; sleep 3; touch marker", timeout=30)
    assert (tools.root / "begun").exists()
    await anyio.lowlevel.checkpoint()
    listed = await tools.fields("bash", command="sleep 2.5; ls", timeout=30)
    assert listed["stdout"] == "begun\n"
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"command": "true", "cwd": "/etc"}, "outside the allowed folders"),
        ({"command": "true", "cwd": ".."}, "has .. in it"),
        ({"command": "true", "cwd": "nowhere"}, "there is no"),
        ({"command": "true", "cwd": "file"}, "is no folder"),
        ({"command": "true", "cwd": "link"}, "leads out"),
        ({"command": "true", "timeout": 601}, "timeout must be 600 or less"),
        ({"command": "true", "timeout": 0}, "timeout must be more than 0"),
        ({"command": "true", "run_in_background": True}, "nothing runs in the background"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": "echo \ud800"}, "is no text"),
        ({"command": ""}, "command must not be empty"),
        ({"command": ["ls"]}, "command must be text"),
        ({"cwd": "."}, "bash needs the argument command: The command line or script."),
        ({"command": "rm -rf / --no-preserve-root"}, "it removes everything"),
    ],
)
async def test_it_says_why_a_command_is_not_run(
    tools: Tools, outside: Path, arguments: dict[str, Any], reason: str
) -> None:
    (tools.root / "file").write_text("")
    (tools.root / "link").symlink_to(outside)
    assert reason in await tools.refusal("bash", **arguments)


async def test_odd_output_and_long_commands_are_taken(tools: Tools) -> None:
    said = await tools.fields("bash", command="printf 'caf\\xe9\\x00\\033[31mred'")
    assert "caf" in said["stdout"]
    assert "\x1b" not in said["stdout"]
    said = await tools.fields("bash", command=f": {'x' * 1_000_000}\necho end")
    assert said["stdout"] == "end\n"
    result = await tools("bash", command="head -c 300000 /dev/zero | tr '\\0' 'x'")
    assert len(result["structuredContent"]["stdout"]) < 70_000
    assert "bytes of output were left out" in result["content"][-1]["text"]


async def test_it_offers_what_the_person_allows(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "quarantine")
    every = {tool.name for tool in TOOLS} | {"bash"}
    watched = Serving(spec)
    async with watched as server:
        assert names(server) == every
        (found,) = [one for one in watched.told if isinstance(one, SandboxFound)]
        assert found.layer == server.layer
        assert server.announced.title.endswith(f"(sandbox: {server.layer})")
        assert all(str(root) in tool["description"] for tool in server.announced.tools)
    async with Serving(replace(spec, read_only=True)) as server:
        assert names(server) == {"read_file", "glob", "grep", "list_directory"}
        assert server.layer == "none"

    async def refuses(*_: object, **__: object) -> Standing:
        raise SandboxError("no sandbox as good as that holds here")

    monkeypatch.setattr(sandbox, "survey", refuses)
    async with Serving(replace(spec, sandbox_at_least="bubblewrap")) as server:
        assert names(server) == every - {"bash"}
        assert "bash is not offered: no sandbox as good as that" in server.announced.error


async def test_a_root_that_is_gone_at_the_start_is_told_and_waited_for(
    tmp_path: Path, root: Path
) -> None:
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "quarantine", read_only=True)
    root.rmdir()
    watched = Serving(spec)
    watched.start()
    try:
        failed = await watched.until(lambda one: one.state == "failed")
        assert "cannot be opened" in failed.error
        root.mkdir()
        await watched.until(lambda one: one.state == "ready")
    finally:
        await watched.stop()


def test_roots_that_cannot_be_opened_leave_nothing_open(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Roots.opened([root, root / "nowhere"])
