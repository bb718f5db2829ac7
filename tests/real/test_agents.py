"""Claude Code asks an agent that works on another machine, and edits a file itself."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.models import Agent
from tests.gateway import Gateway
from tests.legality import history_fault
from tests.real import another, machine, peers, programs, tunnel
from tests.real.conftest import TOOLS, Claude, RunScript, need
from tests.real.machine import Machine, Owner
from tests.real.programs import Finished
from tests.real.tunnel import Caller
from tests.tool_loop import results_in
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import MESSAGES, Request, Upstream

pytestmark = pytest.mark.real

NAME = "claude-agent-reader"
SAID = "The laptop wants bread, and now the list says so."


@dataclass(frozen=True, slots=True)
class Laptop:
    """A machine of another user's, in a folder of theirs, which Claude Code never sees."""

    folder: Path
    machine: Machine


@pytest.fixture(params=["websocket", "polling"])
def laptop(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Laptop]:
    need(*machine.PEERS)
    with another.home() as home:
        yield from _laptop(gateway, home, request.param)


def _laptop(gateway: Gateway, home: Path, transport: str) -> Iterator[Laptop]:
    folder = home / "files"
    folder.mkdir()
    (folder / "wants.txt").write_text("bread\n")
    another.given(home)
    Agent.objects.create(
        slug="reader",
        name="Reader",
        instructions="You read the laptop.",
        model="claude-opus-5-5",
        toolsets=[{"url": "tunnel://laptop/files", "allow": ["list_directory", "read_text_file"]}],
    )
    owner = Owner(key=gateway.key, user_id=0)
    servers = {"files": machine.files_server(folder)}
    with (
        Machine(
            home / "laptop",
            servers,
            url=gateway.url,
            owner=owner,
            transport=transport,
            is_anothers=True,
        ) as made,
        closing(Caller(gateway.url, owner)) as caller,
    ):
        made.wait_until_ready()
        tunnel.wait_until_offered(caller, made)
        if another.uid() is not None:
            assert f"Uid:\t{another.UID}\t" in Path(f"/proc/{made.process.pid}/status").read_text()
        yield Laptop(folder, made)
    assert "Traceback" not in made.said()


def ask(claude: Claude, gateway: Gateway, prompt: str, *more: str) -> Finished:
    """The real program, with the agent as its model."""
    command: list[str | Path] = [
        *(peers.NODE / "node_modules" / ".bin" / "claude", "-p", prompt, "--model", NAME),
        *("--allowedTools", TOOLS, *more),
    ]
    return programs.run(
        command,
        folder=claude.folder,
        environment={
            "HOME": str(claude.home),
            "CLAUDE_CONFIG_DIR": str(claude.home / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": gateway.key,
        },
        within_s=programs.PROGRAM_S,
    )


def model(claude: Claude, laptop: Laptop, request: Request) -> Turn:
    """Look around on the laptop, read there, write here, and say so."""
    said = results_in(request)
    listed, wanted = str(laptop.folder), str(laptop.folder / "wants.txt")
    steps = [
        tool_turn(("files_list_directory", {"path": listed}), text="I look at the laptop."),
        tool_turn(("files_read_text_file", {"path": wanted})),
        tool_turn(("Write", {"file_path": str(claude.folder / "list.txt"), "content": "bread\n"})),
        text_turn(SAID),
    ]
    if "And now?" in json.dumps(request.json["messages"][-1]):
        return text_turn("Still here.")
    return steps[len(said)]


def checked(upstream: Upstream) -> list[Any]:
    """What the upstream was told each time; all of it is legal, but for Claude Code's own words."""
    told = [request.json["messages"] for request in upstream.sent_to(MESSAGES)]
    ours = [[one for one in messages if one["role"] != "system"] for messages in told]
    assert [history_fault(messages) for messages in ours] == [None] * len(ours)
    return ours


def test_it_works_on_another_machine_and_leaves_the_clients_tools_to_it(
    claude: Claude, gateway: Gateway, upstream: Upstream, laptop: Laptop
) -> None:
    upstream.answer_by(lambda request: model(claude, laptop, request))
    done = ask(claude, gateway, "What does the laptop want? Put it on the list.")
    assert (done.code, done.stdout.strip().splitlines()[-1]) == (0, SAID), done
    assert (claude.folder / "list.txt").read_text() == "bread\n"
    told = checked(upstream)
    assert len(told) == 4
    results = [one for one in told[-1][-1]["content"] if one["type"] == "tool_result"]
    assert len(results) == 1
    assert "bread" in json.dumps(told[-1])
    again = ask(
        claude, gateway, "And now?", "--continue", "--output-format", "stream-json", "--verbose"
    )
    assert again.code == 0, again
    assert "Still here." in again.stdout
    assert len(checked(upstream)) == 5


def test_it_shows_the_blocks_to_programs(
    claude: Claude, gateway: Gateway, upstream: Upstream, laptop: Laptop
) -> None:
    upstream.answer_by(lambda request: model(claude, laptop, request))
    asked = ["--output-format", "stream-json", "--verbose"]
    done = ask(claude, gateway, "What does the laptop want?", *asked)
    assert done.code == 0, done
    events = [json.loads(line) for line in done.stdout.splitlines()]
    blocks = [
        block
        for event in events
        if event["type"] == "assistant"
        for block in event["message"]["content"]
    ]
    kinds = [block["type"] for block in blocks]
    assert kinds.count("mcp_tool_use") == kinds.count("mcp_tool_result") == 2
    use = next(block for block in blocks if block["type"] == "mcp_tool_use")
    assert (use["server_name"], use["name"]) == ("files", "list_directory")
    assert use["input"] == {"path": str(laptop.folder)}
    assert any("[files] list_directory" in block.get("text", "") for block in blocks)


SDK = Path(__file__).parent / "sdk"


@pytest.mark.parametrize("laptop", ["websocket"], indirect=True)
@pytest.mark.parametrize("language", ["python", "node"])
def test_the_sdks_read_the_same_answer(
    language: str,
    gateway: Gateway,
    upstream: Upstream,
    laptop: Laptop,
    request: pytest.FixtureRequest,
) -> None:
    run: RunScript = request.getfixturevalue(f"{language}_sdk")
    wanted = str(laptop.folder / "wants.txt")

    def says(asked: Request) -> Turn:
        read = tool_turn(("files_read_text_file", {"path": wanted}), text="I look.")
        return text_turn(SAID) if results_in(asked) else read

    upstream.answer_by(says)
    script = SDK / ("machine_tools.py" if language == "python" else "machine_tools.mjs")
    environment = {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": gateway.key}
    done = run(script, environment=environment)
    assert done.code == 0, done.stderr
    streamed, whole, by_agent = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in (streamed, whole, by_agent):
        blocks = [block for block in answer["content"] if block["type"].startswith("mcp_")]
        use, result = blocks
        assert (use["type"], use["name"], use["input"]) == (
            "mcp_tool_use",
            "read_text_file",
            {"path": wanted},
        )
        assert (result["tool_use_id"], result["content"][0]["text"]) == (use["id"], "bread\n")
        assert (answer["content"][-1]["text"], answer["stop_reason"]) == (SAID, "end_turn")
    assert streamed["usage"]["input_tokens"] == whole["usage"]["input_tokens"] == 50
    # The whole one is a fallback by all that shows: it hears the streamed one's answer again.
    assert len(checked(upstream)) == 4
