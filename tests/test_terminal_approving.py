"""A person approves in the terminal of their machine: the program on a terminal, a real gateway."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.gateway import Gateway
from tests.test_local_approving import CONNECTOR, NOTHING_HOLDS, PYTHON, READY_S, STOP_S

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no connector here: make connector")

LOOK_S = 1.0  # a person looks at least so long before a key counts


class Terminal:
    """What stands on it, and its keys."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.shown = ""

    def until(self, text: str, *, within_s: float = READY_S) -> None:
        """Read on until that has been shown since the last time."""
        began, at = time.monotonic(), len(self.shown)
        while text not in _plain(self.shown[at:]):
            assert time.monotonic() - began < within_s, f"{text!r} is not shown:\n{self.shown}"
            if select.select([self._descriptor], [], [], 0.5)[0]:
                self.shown += os.read(self._descriptor, 65536).decode(errors="replace")

    def press(self, key: str, *, until: str) -> None:
        """Now and then, until it has been taken: too early it does not count."""
        for _ in range(20):
            os.write(self._descriptor, key.encode())
            try:
                self.until(until, within_s=LOOK_S)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{key!r} has done nothing:\n{self.shown}")


def _plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder that the person allows."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def terminal(server: Gateway, key: str, project: Path, tmp_path: Path) -> Iterator[Terminal]:
    home = tmp_path / "home"
    home.mkdir()
    config = home / "connector.toml"
    here = '\n[policy]\napprove_from = ["terminal"]\n'
    config.write_text(NOTHING_HOLDS.format(project=project) + here)
    ours, theirs = pty.openpty()
    environ = {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(CONNECTOR)}
    process = subprocess.Popen(
        [PYTHON, "-m", "opscenter_connector.cli", "run", "--config", str(config)],
        cwd=home,
        env=environ
        | {"MCP_API_KEY": key, "MCP_API_URL": server.url}
        | {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    one = Terminal(ours)
    try:
        one.until("connected by websocket")
        yield one
    finally:
        process.send_signal(signal.SIGTERM)
        reading = Thread(target=_drain, args=(ours,), daemon=True)
        reading.start()
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
            reading.join(STOP_S)
            os.close(ours)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:  # Linux says it so when the other end is closed
        return


class Asked(Thread):
    """A caller who waits for the end of a command."""

    def __init__(self, server: Gateway, key: str, command: str) -> None:
        super().__init__(daemon=True)
        self._asks = (server.url, key, command)
        self.said: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        url, key, command = self._asks
        body = {"server": "local", "tool": "bash", "arguments": {"command": command}}
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=90, trust_env=False) as client:
            self.said = client.post("/api/mcp/execute", json=body | {"timeout_s": 60}).json()

    def ended(self) -> dict[str, Any]:
        self.join(READY_S)
        return self.said


def test_one_key_approves_a_command_and_another_refuses_one(
    terminal: Terminal, server: Gateway, key: str, project: Path
) -> None:
    first = Asked(server, key, "echo bread > made")
    terminal.until("command: echo bread > made")
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        asked = client.get("/api/mcp/approvals", headers={"authorization": f"Bearer {key}"}).json()
        question = asked["results"][0]
        refused = client.post(  # only the terminal counts, and the gateway knows it
            f"/api/mcp/approvals/{question['id']}",
            headers={"authorization": f"Bearer {key}"},
            json={"approve": True, "digest": question["digest"]},
        )
    assert (question["here_only"], refused.status_code) == (True, 409)
    assert not (project / "made").exists()
    terminal.press("y", until="done in")
    assert first.ended()["state"] == "succeeded"
    assert (project / "made").read_text() == "bread\n"
    second = Asked(server, key, "rm made")
    terminal.until("command: rm made")
    terminal.press("n", until="is refused in this terminal")
    assert second.ended()["state"] == "failed"
    assert (project / "made").exists()
