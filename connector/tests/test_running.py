"""`ops-connector run`, as a process: signals, exit codes, and what stands on a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gateways import KEY

ROOT = Path(__file__).parent.parent
END_S = 60  # a loaded machine needs seconds to import the SDK


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "MCP_API_KEY": KEY,
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
    } | more


@contextmanager
def running(folder: Path, script: str, *argv: str) -> Iterator["subprocess.Popen[str]"]:
    """A connector that writes JSON lines to a pipe, and has connected."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.scripted", script, "--log-format", "json", *argv],
        cwd=folder,
        env=environ(folder),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until(process, "connected")
            yield process
        finally:
            process.kill()


def until(process: "subprocess.Popen[str]", event: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"it ended before {event}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_when_asked(tmp_path: Path, number: int) -> None:
    with running(tmp_path, "until_told") as process:
        process.send_signal(number)
        until(process, "stopping")
        assert process.wait(END_S) == 0


@pytest.mark.parametrize("script", ["stubborn", "hangs"])
def test_it_ends_at_once_when_asked_twice(tmp_path: Path, script: str) -> None:
    with running(tmp_path, script) as process:
        process.send_signal(signal.SIGINT)
        until(process, "stopping")
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 130


def ended(folder: Path, script: str, *argv: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.scripted", script, *argv],
        cwd=folder,
        env=environ(folder, **more),
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )


def test_it_ends_with_the_code_of_the_reason_and_a_hint(tmp_path: Path) -> None:
    found = ended(tmp_path, "refused")
    assert found.returncode == 3
    assert "error   the gateway does not take the key" in found.stderr
    assert "ops-connector doctor" in found.stderr


def test_it_shows_a_defect_whole(tmp_path: Path) -> None:
    found = ended(tmp_path, "broken")
    assert found.returncode == 1
    assert "error   a defect: RuntimeError: something that cannot be" in found.stderr
    assert "Traceback" in found.stderr


def test_it_says_what_it_does_not_do(tmp_path: Path) -> None:
    assert "no MCP server is configured and no path allowed" in ended(tmp_path, "refused").stderr
    src = tmp_path / "src"
    src.mkdir()
    bare = ended(tmp_path, "refused", "--allowed-paths", str(src)).stderr
    assert f"the built-in tools work in {src}" in bare
    assert "no MCP server" not in bare
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"a": {"command": "x"}}}')
    argv = ["--allowed-paths", str(src), "--mcp-config", ".mcp.json"]
    fronted = ended(tmp_path, "refused", *argv).stderr
    assert "the allowed paths do not confine the 1 MCP server fronted here" in fronted


def test_it_shows_the_key_nowhere(tmp_path: Path) -> None:
    for argv in ([], ["--log-format", "json"], ["--log-level", "debug"], ["--api-key", KEY]):
        found = ended(tmp_path, "refused", *argv)
        assert KEY[10:] not in found.stderr + found.stdout
    assert "where every user of this machine can read it" in found.stderr


def on_a_terminal(folder: Path, **more: str) -> str:
    """What a terminal was sent, from the start until Ctrl-C on its keyboard."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scripted", "until_told"],
        cwd=folder,
        env=environ(folder, COLUMNS="90", LINES="20", **more),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, is_asked = b"", False
    try:
        while chunk := _read(ours):
            shown += chunk
            if not is_asked and b"session 1" in shown:
                is_asked = True
                process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 0
    finally:
        process.kill()
        os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says it so when the other end is closed
        return b""


def test_it_shows_one_status_line_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path)
    assert "● " in shown
    assert "to 127.0.0.1:8084" in shown
    assert "\x1b[?1049" not in shown  # no second screen: what was there stays
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")  # the cursor is back
    assert "stopped" in shown


def test_it_sends_no_colours_when_told(
    tmp_path: Path,
) -> None:
    assert "\x1b[3" not in on_a_terminal(tmp_path, NO_COLOR="1")


def test_it_sends_no_control_codes_into_a_pipe(tmp_path: Path) -> None:
    assert "\x1b" not in ended(tmp_path, "refused", FORCE_COLOR="1").stderr
