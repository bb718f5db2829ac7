"""`manage.py runconnector` becomes the connector."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp.management.commands import runconnector
from tests import environment
from tests.environment import ROOT

# Says what it was started with, and with which code to end.
FAKE = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done
printf 'url=%s python=%s\\n' "$MCP_API_URL $MCP_API_URL_DEFAULT" "$PYTHONPATH"
exit 7
"""

# The connector beside the server, if there is one, is not what these tests are about.
ELSEWHERE = """
from pathlib import Path
from opscenter import env
env.use_settings()
from mcp.management.commands import runconnector
runconnector.BESIDE = Path("nowhere")
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *__import__("sys").argv[1:]])
"""


def program(folder: Path, text: str = FAKE) -> Path:
    """An ops-connector in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ops-connector"
    path.write_text(text)
    path.chmod(0o700)
    return path


def manage(folder: Path, *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder}{os.pathsep}{os.defpath}"
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *argv],
        cwd=ROOT,
        env=environment.child(PATH=path, PYTHONPATH=str(ROOT), **environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_passes_every_option_on_and_ends_as_the_connector_does(tmp_path: Path) -> None:
    program(tmp_path)
    argv = ["--user-id", "7", "--api-key=a b", "doctor", "--json", "--version", "-v", "--help"]
    ended = manage(
        tmp_path, "runconnector", *argv, OPSCENTER_PORT="8123", MCP_API_URL="https://said"
    )
    assert ended.returncode == 7, ended.stderr
    *words, environ = ended.stdout.splitlines()
    assert words == argv
    assert environ == "url=https://said http://127.0.0.1:8123 python="


def test_it_shows_the_connectors_own_help(tmp_path: Path) -> None:
    program(tmp_path)
    assert manage(tmp_path, "help", "runconnector").stdout.splitlines()[0] == "--help"


def test_it_says_how_to_install_what_is_not_there(tmp_path: Path) -> None:
    ended = manage(tmp_path, "runconnector")
    assert ended.returncode == 2
    assert "make connector" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_says_so_if_the_connector_does_not_start(tmp_path: Path) -> None:
    program(tmp_path, "#!/no/such/python\n")
    ended = manage(tmp_path, "runconnector")
    assert ended.returncode == 2
    assert "does not start" in ended.stderr


def test_it_prefers_the_connector_beside_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = program(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert runconnector.found(tmp_path) == str(other)
    beside = program(tmp_path / runconnector.BESIDE.parent)
    assert runconnector.found(tmp_path) == str(beside)
    beside.chmod(0o600)
    assert runconnector.found(tmp_path) == str(other)
    monkeypatch.setenv("PATH", "")
    beside.unlink()
    assert runconnector.found(tmp_path) is None


def test_it_starts_the_real_one_from_a_folder_that_has_our_mcp() -> None:
    """In the root, `import mcp` is this app; the connector needs the SDK of that name."""
    if not (ROOT / runconnector.BESIDE).exists():
        pytest.skip("the connector is not installed: make connector")
    argv = ["runconnector", "tools", "--json", "--mcp-config", "connector/examples/.mcp.json"]
    ended = subprocess.run(
        [sys.executable, "manage.py", *argv],
        cwd=ROOT,
        env=environment.child(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (clock,) = json.loads(ended.stdout)["servers"]
    assert clock["state"] == "ready"
