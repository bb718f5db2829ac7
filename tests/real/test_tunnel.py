"""Real MCP servers behind a real connector behind real gateways, over both transports."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import gateway
from tests.real import machine, tunnel
from tests.real.machine import Machine
from tests.real.tunnel import MIB, Caller, Stack, text_of

pytestmark = pytest.mark.real

TRANSPORTS = ("websocket", "polling")
LONG = "trigger-long-running-operation"
FITS_BYTES = 720 * 1024  # with what of it is text, a little less than a MiB
SLOW_S = 30  # longer than any test lets a tool run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What server-filesystem may read."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "hello.txt").write_text("hello from a laptop")
    (folder / "fits.txt").write_text("x" * FITS_BYTES)
    (folder / "large.txt").write_text("y" * (3 * MIB))
    return folder


@pytest.fixture(scope="module", params=TRANSPORTS)
def laptop(
    stack: Stack,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Machine]:
    """A machine that fronts two servers from npm and one of ours."""
    home = tmp_path_factory.mktemp("laptop") / "home"
    servers = {
        "files": machine.files_server(folder),
        "everything": machine.EVERYTHING,
        "effects": machine.effects_server(folder / f"notes-{home.parent.name}"),
    }
    owner = stack.owners[TRANSPORTS.index(request.param)]
    with Machine(home, servers, url=stack.road.url, owner=owner, transport=request.param) as laptop:
        laptop.wait_until_ready()
        yield laptop
    assert "Traceback" not in laptop.said()


@pytest.fixture
def caller(stack: Stack, laptop: Machine) -> Iterator[Caller]:
    """Who asks, as soon as the machine is there; with two gateways, at the other one."""
    with closing(stack.caller(laptop.owner)) as caller:
        tunnel.wait_until_offered(caller, laptop)
        yield caller


def notes(laptop: Machine, word: str) -> list[str]:
    """What has really happened to the call with this word."""
    file = Path(laptop.servers["effects"][-1])
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.partition(" ")[0] for line in lines if line.endswith(f" {word}")]


def begun(laptop: Machine, caller: Caller, word: str, seconds: float, **more: object) -> str:
    """A call with effects that is in the middle of its work."""
    call_id = caller.submit("effects", "slow", {"word": word, "seconds": seconds}, **more)
    gateway.eventually(lambda: notes(laptop, word))
    return call_id


def test_it_lists_what_the_servers_offer(stack: Stack, laptop: Machine, caller: Caller) -> None:
    found = {one["name"]: one for one in caller.get("servers/me", tools="full")["servers"]}
    assert set(found) == {"files", "everything", "effects"}
    assert {one["method"] for one in found.values()} == {laptop.transport}
    names = {name: {tool["name"] for tool in one["tools"]} for name, one in found.items()}
    assert {"read_text_file", "write_file", "list_directory"} <= names["files"]
    assert {"echo", "get-sum", LONG} <= names["everything"]
    status = caller.get("status")
    here = "websocket_connections" if laptop.transport == "websocket" else "polling_queues"
    assert status[here] >= 1


def test_it_calls_the_servers_from_npm(laptop: Machine, caller: Caller, folder: Path) -> None:
    read = caller.run("files", "read_text_file", {"path": str(folder / "hello.txt")})
    assert text_of(read) == "hello from a laptop"
    assert text_of(caller.run("everything", "echo", {"message": "here"})) == "Echo: here"
    summed = caller.run("everything", "get-sum", {"a": 2, "b": 40})
    assert "42" in text_of(summed)
    refused = caller.run("files", "read_text_file", {"path": "/etc/passwd"})
    assert (refused["state"], refused["is_error"]) == ("failed", True)
    assert "Access denied" in text_of(refused)


def test_it_tells_how_far_a_call_is(laptop: Machine, caller: Caller) -> None:
    call_id = caller.submit("everything", LONG, {"duration": 2, "steps": 8})
    seen = gateway.eventually(lambda: caller.look(call_id)["progress"])
    assert 1 <= seen["progress"] <= 8
    assert seen["total"] == 8
    end = caller.end(call_id)
    assert end["state"] == "succeeded"
    assert "completed" in text_of(end)


def test_it_stops_a_call(laptop: Machine, caller: Caller) -> None:
    call_id = begun(laptop, caller, "stop", SLOW_S)
    assert caller.cancel(call_id)["cancel_requested"] is True
    assert caller.end(call_id)["state"] == "cancelled"
    gateway.eventually(lambda: notes(laptop, "stop") == ["began", "cancelled"])


def test_it_carries_large_results_and_shortens_larger_ones(
    laptop: Machine, caller: Caller, folder: Path
) -> None:
    fits = caller.run("files", "read_text_file", {"path": str(folder / "fits.txt")})
    large = caller.run("files", "read_text_file", {"path": str(folder / "large.txt")})
    assert (large["state"], large["is_error"]) == ("succeeded", False)
    assert MIB / 5 < len(text_of(large)) < MIB
    assert "characters left out" in text_of(large)
    # The server says it twice, and only the text is shortened to what a model reads.
    assert len(fits["result"]["structuredContent"]["content"]) == FITS_BYTES


def test_it_ends_a_call_at_its_deadline(laptop: Machine, caller: Caller) -> None:
    asked = {"word": "late", "seconds": SLOW_S}
    end = caller.run("effects", "slow", asked, timeout_s=1)
    assert (end["state"], end["is_error"]) == ("failed", True)
    gateway.eventually(lambda: notes(laptop, "late") == ["began", "cancelled"])


def test_it_starts_a_server_again_that_died_in_a_call(laptop: Machine, caller: Caller) -> None:
    mark = laptop.mark
    call_id = begun(laptop, caller, "crash", SLOW_S)
    laptop.kill_server("effects")
    end = caller.end(call_id)
    assert (end["state"], end["outcome"]) == ("failed", "interrupted")
    assert "unknown" in text_of(end)
    laptop.until(
        lambda: laptop.events_since(mark, "server_changed", server="effects", state="ready")
    )
    tunnel.wait_until_offered(caller, laptop)
    assert text_of(caller.run("effects", "look", {"word": "again"})) == "again"
    assert notes(laptop, "crash") == ["began"]


def test_it_reports_what_ran_when_the_connector_was_killed(laptop: Machine, caller: Caller) -> None:
    call_id = begun(laptop, caller, "killed", SLOW_S)
    reading = caller.submit("everything", LONG, {"duration": 1, "steps": 1})
    laptop.until(lambda: laptop.events("call_started", id=reading))
    laptop.kill()
    laptop.start()
    end = caller.end(call_id)
    assert (end["state"], end["outcome"]) == ("failed", "interrupted")
    assert "unknown" in text_of(end)
    # It changes nothing, so it was run again, or its end had been written down.
    assert caller.end(reading)["state"] in {"succeeded", "failed"}
    assert notes(laptop, "killed").count("began") == 1
    assert "ended" not in notes(laptop, "killed")


def test_it_survives_the_end_of_a_gateway(stack: Stack, laptop: Machine, caller: Caller) -> None:
    call_id = begun(laptop, caller, "restart", 2)
    mark = laptop.mark
    stack.workers[0].program.kill()
    stack.workers[0].start()
    assert text_of(caller.end(call_id)) == "restart"
    laptop.until(lambda: laptop.events_since(mark, "connected"))
    assert notes(laptop, "restart") == ["began", "ended"]


def test_it_changes_the_transport_in_the_middle_of_a_call(stack: Stack, tmp_path: Path) -> None:
    servers = {"effects": machine.effects_server(tmp_path / "notes")}
    owner = stack.owners[-1]
    with (
        Machine(
            tmp_path / "home", servers, url=stack.road.url, owner=owner, transport="auto"
        ) as it,
        closing(stack.caller(owner)) as caller,
    ):
        it.wait_until_ready()
        assert it.events("connected")[0]["transport"] == "websocket"
        tunnel.wait_until_offered(caller, it)
        call_id = begun(it, caller, "switch", 4)
        try:
            stack.road.takes_sockets = False
            stack.road.cut_sockets()
            it.until(lambda: it.events("connected", transport="polling"))
            assert text_of(caller.end(call_id)) == "switch"
        finally:
            stack.road.takes_sockets = True
        assert notes(it, "switch") == ["began", "ended"]
