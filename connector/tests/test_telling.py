"""What goes from the event loop to terminal and log."""

import io
import json
import logging
import threading
import time
import warnings
from typing import Any

import pytest
from mcp_types import JSONRPCNotification

from opscenter_connector import happenings as h
from opscenter_connector import telling
from opscenter_connector.logs import JsonLog, TextLog, taken_over
from opscenter_connector.telling import Teller

LOST = h.Lost(transport="websocket", code=1006, reason="it broke off")
WAITING = h.Waiting(transport="websocket", delay_s=2, reason="it broke off")
CONNECTED = h.Connected(transport="websocket", connector="c", epoch=2, max_in_flight=4)
BEGUN = h.CallStarted(id="0193-00ab", server="s", tool="é", has_effects=True, limit_s=30)


def as_json(*told: h.Happening, level: str = "info") -> list[dict[str, Any]]:
    stream = io.StringIO()
    teller = Teller(JsonLog(stream), level)
    for happening in told:
        teller.tell(happening)
    teller.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_it_writes_one_object_for_each_event() -> None:
    (line,) = as_json(BEGUN)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "event": "call_started",
        "text": "s.é #00ab begins (at most 30 s)",
        "id": "0193-00ab",
        "server": "s",
        "tool": "é",
        "has_effects": True,
        "limit_s": 30,
    }


def test_it_writes_json_in_ascii() -> None:
    stream = io.StringIO()
    teller = Teller(JsonLog(stream), "info")
    teller.tell(BEGUN)
    teller.close()
    assert stream.getvalue().isascii()


def test_it_writes_plain_lines_without_control_codes() -> None:
    stream = io.StringIO()
    teller = Teller(TextLog(stream), "info")
    teller.tell(h.Trouble(what="journal", reason="\x1b[31mfull\nof it"))
    teller.note("info", "reads a file")
    teller.close()
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" error   journal: full of it")
    assert second.endswith(" info    reads a file")


def test_it_leaves_out_what_is_below_the_level() -> None:
    told = (BEGUN, LOST)
    assert [line["event"] for line in as_json(*told, level="warning")] == ["lost"]


def test_it_says_once_that_it_is_offline_for_the_same_reason() -> None:
    said = as_json(LOST, WAITING, LOST, WAITING, LOST, WAITING)
    assert [line["event"] for line in said] == ["lost", "waiting"]
    other = h.Lost(transport="websocket", code=503, reason="stopping")
    assert [line["event"] for line in as_json(LOST, other, WAITING)] == ["lost", "lost", "waiting"]
    again = as_json(LOST, CONNECTED, LOST)
    assert [line["event"] for line in again] == ["lost", "connected", "lost"]
    assert len(as_json(LOST, WAITING, LOST, WAITING, level="debug")) == 4


def test_it_says_once_that_neither_transport_works() -> None:
    other = h.Lost(transport="polling", code=None, reason="HTTP 404")
    waiting = h.Waiting(transport="polling", delay_s=2, reason="HTTP 404")
    said = as_json(*(LOST, WAITING, other, waiting) * 3)
    assert [line["event"] for line in said] == ["lost", "waiting"] * 2


def test_it_says_once_that_a_server_fails_for_the_same_reason() -> None:
    def server(state: str, error: str = "") -> h.ServerChanged:
        return h.ServerChanged(
            server="s", transport="stdio", state=state, tools=0, error=error, retry_s=None
        )

    broken = [server("starting"), server("failed", "it ended")]
    assert [line["text"] for line in as_json(*broken * 3)] == [
        "server s starts",
        "server s failed: it ended",
    ]
    assert len(as_json(*broken, server("failed", "it hangs"))) == 3
    assert len(as_json(*broken, server("starting"), server("ready"), *broken)) == 5


WRONG = '{"jsonrpc": "2.0", "method": ["secret"]}'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("mcp.client.stdio", "Failed to parse JSONRPC message from server"), ""),
        (("mcp.client.session", "Failed to validate notification: x"), "Failed to validate"),
    ],
)
def test_it_tells_nothing_of_what_a_server_wrote(said: tuple[str, str], told: str) -> None:
    stream = io.StringIO()
    teller = Teller(TextLog(stream), "debug")
    name, text = said
    with taken_over(teller, "debug"):
        try:
            JSONRPCNotification.model_validate_json(WRONG)
        except ValueError:
            logging.getLogger(name).exception(text)
    teller.close()
    log = stream.getvalue()
    assert "secret" not in log
    assert told in log
    assert bool(log) == bool(told)
    assert ("ValidationError" in log) == bool(told)


class Stuck(TextLog):
    """A terminal that is held by Ctrl-S until it is let go."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__(stream)
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def show(self, entry: telling.Entry) -> None:
        self.reached.set()
        self.let_go.wait(5)
        super().show(entry)


def test_it_never_waits_for_a_terminal_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "WAITING_MOST", 10)
    stream = io.StringIO()
    stuck = Stuck(stream)
    teller = Teller(stuck, "info")
    teller.tell(BEGUN)
    assert stuck.reached.wait(5)
    began = time.monotonic()
    for _ in range(1000):
        teller.tell(BEGUN)
    assert time.monotonic() - began < 1
    stuck.let_go.set()
    teller.close()

    lines = stream.getvalue().splitlines()
    assert len(lines) == 12
    assert "990 lines not shown" in lines[1]


def test_it_ends_though_the_terminal_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "CLOSE_S", 0.05)
    stuck = Stuck(io.StringIO())
    teller = Teller(stuck, "info")
    teller.tell(BEGUN)
    assert stuck.reached.wait(5)
    teller.close()
    stuck.let_go.set()


def test_it_goes_on_when_the_pipe_is_gone() -> None:
    stream = io.StringIO()
    stream.close()
    teller = Teller(TextLog(stream), "info")
    teller.tell(BEGUN)
    teller.tell(BEGUN)
    teller.close()


def test_it_takes_what_libraries_log_to_the_same_place() -> None:
    stream = io.StringIO()
    teller = Teller(JsonLog(stream), "info")
    with taken_over(teller, "info"):
        logging.getLogger("a.library").warning("odd: %s", "\x1b[2Jframe")
        logging.getLogger("a.library").info("chatter")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        try:
            raise ValueError("deep")
        except ValueError:
            logging.getLogger("b").exception("a defect")
    teller.close()
    first, old, defect, *trace = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["level"], first["logger"], first["text"]) == (
        "warning",
        "a.library",
        "odd: frame",
    )
    assert "old" in old["text"]
    assert (defect["level"], defect["text"]) == ("error", "a defect")
    assert trace[-1]["text"] == "ValueError: deep"
