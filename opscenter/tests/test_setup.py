"""`manage.py setup` and `manage.py serve`, as somebody runs them in an empty folder."""

import re
import shlex
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import environment, gateway

SETUP_S = 120  # all migrations on an empty file take two seconds; more on a busy machine
KEY = re.compile(r"sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}")
PASSWORD = re.compile(r"user operator, password (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A folder with what the product keeps, and what its first setup said."""

    var: Path
    said: str = ""

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "opscenter.settings",
            "OPSCENTER_VAR_DIR": str(self.var),
            "OPSCENTER_DATABASE_URL": f"sqlite:///{self.var / 'opscenter.sqlite3'}",
        }

    def manage(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  (our own interpreter and files)
            [sys.executable, "manage.py", *command],
            cwd=environment.ROOT,
            env=environment.child(**self.settings | more),
            capture_output=True,
            text=True,
            timeout=SETUP_S,
            stdin=subprocess.DEVNULL,  # nobody there to answer a question
        )

    def setup(self, *arguments: str, **more: str) -> str:
        """Run it to its end, which must be a good one."""
        done = self.manage("setup", *arguments, **more)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def rows(self) -> list[tuple[Any, ...]]:
        """Every row that a second setup could have changed."""
        accounts = ("apikey", "organization", "membership", "auditentry")
        tables = [
            "auth_user",
            "proxy_upstream",
            "proxy_route",
            *(f"accounts_{t}" for t in accounts),
        ]
        with closing(sqlite3.connect(self.var / "opscenter.sqlite3")) as database:
            return [row for t in tables for row in database.execute(f"SELECT '{t}', * FROM {t}")]  # noqa: S608  (names above)

    def routes(self) -> list[tuple[Any, ...]]:
        asked = (
            "SELECT pattern, name, base_url, credential_variable FROM proxy_route"
            " JOIN proxy_upstream ON proxy_upstream.id = upstream_id WHERE proxy_route.enabled"
        )
        with closing(sqlite3.connect(self.var / "opscenter.sqlite3")) as database:
            return list(database.execute(asked))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Set up once; the tests here change nothing in it."""
    var = tmp_path_factory.mktemp("installed") / "deep" / "var"
    return Installation(var=var, said=Installation(var=var).setup())


@pytest.fixture
def copied(installed: Installation, tmp_path: Path) -> Installation:
    """A copy of it, to be changed: quicker than to migrate again."""
    with (
        closing(sqlite3.connect(installed.var / "opscenter.sqlite3")) as source,
        closing(sqlite3.connect(tmp_path / "opscenter.sqlite3")) as copy,
    ):
        source.backup(copy)
    return Installation(var=tmp_path, said=installed.said)


def exports(said: str) -> dict[str, str]:
    """The lines that people paste, name to value."""
    return dict(re.findall(r"^  export (\w+)=(.*)$", said, re.MULTILINE))


def test_it_shows_the_password_and_the_key_once(installed: Installation) -> None:
    assert len(KEY.findall(installed.said)) == 1
    assert len(PASSWORD.findall(installed.said)) == 1
    assert "shown this once" in installed.said
    [machines] = [line for line in installed.said.splitlines() if "make connector" in line]
    title = machines[machines.index("README.md, ") + len("README.md, ") :]
    assert f"\n## {title}\n" in (environment.ROOT / "README.md").read_text()
    assert exports(installed.said) == {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8084",
        "ANTHROPIC_AUTH_TOKEN": KEY.findall(installed.said)[0],
        "ANTHROPIC_MODEL": "claude-opus-5-5",
    }
    assert installed.routes() == [("*", "demo", "", "")]


def test_it_changes_nothing_the_second_time_and_shows_no_secret(installed: Installation) -> None:
    before = installed.rows()
    said = installed.setup()
    assert installed.rows() == before
    assert not KEY.search(said)
    assert not PASSWORD.search(said)
    assert exports(said)["ANTHROPIC_AUTH_TOKEN"] == "sk-uc-your-key"
    assert "createapikey" in said


def test_it_stores_neither_the_password_nor_the_key(installed: Installation) -> None:
    kept = (installed.var / "opscenter.sqlite3").read_bytes()
    [key], [password] = KEY.findall(installed.said), PASSWORD.findall(installed.said)
    assert key.encode() not in kept
    assert key.rpartition("-")[2].encode() not in kept
    assert password.encode() not in kept


def test_it_works_as_printed(installed: Installation, tmp_path: Path) -> None:
    given = exports(installed.said)
    body = {
        "model": given["ANTHROPIC_MODEL"],
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with (
        gateway.running(tmp_path / "log", **installed.settings) as (url, _),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        headers = {"authorization": f"Bearer {given['ANTHROPIC_AUTH_TOKEN']}"}
        answer = client.post("/v1/messages", headers=headers, json=body)
        assert (answer.status_code, answer.json()["type"]) == (200, "message")
        assert client.get("/admin/").status_code == 302
        client.get("/admin/login/")
        form = {
            "username": "operator",
            "password": PASSWORD.findall(installed.said)[0],
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
            "next": "/admin/",
        }
        assert client.post("/admin/login/", data=form).status_code == 302
        assert client.get("/admin/").status_code == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_it_leads_to_anthropic_from_the_start_where_its_key_is_set(tmp_path: Path) -> None:
    new = Installation(var=tmp_path / "var")
    said = new.setup(ANTHROPIC_API_KEY="sk-ant-secret")
    wanted = ("*", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY")
    assert new.routes() == [wanted]
    assert "answered by anthropic at https://api.anthropic.com" in said
    assert "sk-ant-secret" not in said + str(new.rows())


def test_it_only_mentions_what_is_set_later(copied: Installation) -> None:
    before = copied.rows()
    said = copied.setup(ANTHROPIC_API_KEY="sk-ant-secret")
    assert copied.rows() == before
    assert "manage.py setup --upstream anthropic" in said


@pytest.mark.parametrize(
    ("name", "variables", "route"),
    [
        (
            "anthropic",
            {"ANTHROPIC_API_KEY": "a"},
            ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        ),
        (
            "litellm",
            {"LITELLM_URL": "http://127.0.0.1:9/", "LITELLM_MASTER_KEY": "b"},
            ("http://127.0.0.1:9", "LITELLM_MASTER_KEY"),
        ),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0:9"}, ("http://127.0.0.1:9", "")),
        ("demo", {"OLLAMA_HOST": "127.0.0.1:9"}, ("", "")),
    ],
)
def test_it_leads_to_the_upstream_that_is_chosen(
    copied: Installation, name: str, variables: dict[str, str], route: tuple[str, str]
) -> None:
    said = copied.setup("--upstream", name, **variables)
    assert copied.routes() == [("*", name, *route)]
    assert ("The routes of * to demo are switched off." in said) == (name != "demo")
    assert not KEY.search(said)
    assert copied.setup() != "", "it starts without the variable too"
    assert copied.routes() == [("*", name, *route)]


def test_it_names_what_can_be_chosen(installed: Installation) -> None:
    done = installed.manage("setup", "--upstream", "telepathy")
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert "invalid choice: 'telepathy'" in said
    assert all(name in said for name in ("anthropic", "litellm", "ollama", "demo"))


def test_it_names_the_variable_that_is_missing(copied: Installation) -> None:
    before = copied.rows()
    done = copied.manage("setup", "--upstream", "ollama")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "CommandError: ollama is not configured: set OLLAMA_HOST in .env first.\n"
    assert copied.rows() == before


def test_it_loses_no_password_to_a_setup_that_fails(tmp_path: Path) -> None:
    new = Installation(var=tmp_path / "var")
    assert new.manage("setup", "--upstream", "ollama").returncode == 1
    assert PASSWORD.search(new.setup()), "made by the first run, shown by none"


def test_it_keeps_its_files_to_their_owner(installed: Installation) -> None:
    for path in (installed.var, *installed.var.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


class OneModel(BaseHTTPRequestHandler):
    """Lists one model under a name that a shell would not take for a name."""

    def do_GET(self) -> None:
        body = b'{"data":[{"id":"qwen 3; touch $HOME/here"}]}'
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the test's own output is enough."""


@pytest.fixture
def ollama() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneModel) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_prints_no_line_that_does_something_else_in_a_shell(
    copied: Installation, ollama: str
) -> None:
    said = copied.setup("--upstream", "ollama", OLLAMA_HOST=ollama)
    assert shlex.split(exports(said)["ANTHROPIC_MODEL"]) == ["qwen 3; touch $HOME/here"]


def test_it_says_in_words_that_somebody_listens_there_already(installed: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = installed.manage("serve", OPSCENTER_PORT=str(port))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"Cannot listen on 127.0.0.1:{port} (Address already in use)" in line
    assert "OPSCENTER_PORT" in line


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_it_says_in_words_that_it_cannot_listen_there(installed: Installation, host: str) -> None:
    done = installed.manage("serve", OPSCENTER_HOST=host)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"CommandError: Cannot listen on {host}:8084 (")


def test_it_opens_one_installation_when_two_begin_at_once(tmp_path: Path) -> None:
    new = Installation(var=tmp_path / "var")
    with ThreadPoolExecutor(2) as both:
        said = [done.result() for done in [both.submit(new.setup) for _ in range(2)]]
    assert len(PASSWORD.findall("".join(said))) == 1
