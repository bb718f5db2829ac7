"""`manage.py doctor` on installations that are broken in one place each."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opscenter.tests.test_setup import KEY, Installation
from tests import gateway

NOWHERE = "127.0.0.1:9"  # discard: nobody listens
HEALTHY = {
    "KEYCLOAK_URL": "",
    "KEYCLOAK_CLIENT_SECRET": "",
    "OPSCENTER_SECRET_KEY": "abcdefghijklmnopqrstuvwxyz-0123456789",
    "OPSCENTER_KEY_PEPPER": "zyxwvutsrqponmlkjihgfedcba-9876543210",
    "OPSCENTER_ENCRYPTION_KEYS": "0123456789-abcdefghijklmnopqrstuvwxyz",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that nobody changes."""
    var = tmp_path_factory.mktemp("doctor")
    return Installation(var=var, said=Installation(var=var).setup(**HEALTHY))


@pytest.fixture(scope="module")
def port(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where its server listens."""
    log = tmp_path_factory.mktemp("log") / "serve.log"
    settings = installed.settings | HEALTHY
    with gateway.running(log, **settings) as (url, _):
        yield url.rpartition(":")[2]


def key_of(installed: Installation) -> str:
    found = KEY.search(installed.said)
    assert found
    return found.group()


def asked(
    installed: Installation, *arguments: str, **more: str
) -> tuple[int, dict[str, dict[str, str]], str]:
    """The exit code, the lines by their check, and all that was printed."""
    done = installed.manage("doctor", "--json", *arguments, **HEALTHY | more)
    assert done.stderr == ""
    lines = {line["check"]: line for line in json.loads(done.stdout)["checks"]}
    return done.returncode, lines, done.stdout


def failing(lines: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, line in lines.items() if line["verdict"] == "fails"}


def test_it_is_content_with_a_server_that_runs(installed: Installation, port: str) -> None:
    key = key_of(installed)
    code, lines, said = asked(
        installed,
        "--ask",
        "claude-opus-5-5",
        OPSCENTER_PORT=port,
        ANTHROPIC_AUTH_TOKEN=key,
    )
    assert (failing(lines), code) == (set(), 0)
    for name in ("database", "server", "key", "answer", "upstream demo"):
        assert lines[name]["verdict"] == "ok", lines[name]
    assert key not in said


def test_a_wrong_key_fails_and_is_not_shown(installed: Installation, port: str) -> None:
    wrong = key_of(installed)[:-4] + "abcd"
    code, lines, said = asked(installed, OPSCENTER_PORT=port, ANTHROPIC_AUTH_TOKEN=wrong)
    assert (failing(lines), code) == ({"key"}, 1)
    assert wrong not in said


@pytest.mark.parametrize(
    ("check", "says", "broken"),
    [
        ("secrets", "the same", {"OPSCENTER_SECRET_KEY": HEALTHY["OPSCENTER_KEY_PEPPER"]}),
        ("redis", "not answer", {"OPSCENTER_REDIS_URL": f"redis://:hidden-word@{NOWHERE}/0"}),
        (
            "database",
            "not answer: Connection refused.",
            {"OPSCENTER_DATABASE_URL": f"postgres://a:hidden-word@{NOWHERE}/b"},
        ),
        (
            "lago",
            "Lago is away: ",
            {"LAGO_API_URL": f"http://{NOWHERE}", "LAGO_API_KEY": "hidden-word"},
        ),
        ("outside", "no connection: ", {"EXTERNAL_API_URL": f"http://{NOWHERE}"}),
        (
            "keycloak",
            "No keys from ",
            {"KEYCLOAK_URL": f"http://{NOWHERE}", "KEYCLOAK_CLIENT_SECRET": "hidden-word-" * 4},
        ),
    ],
)
def test_it_names_what_is_broken(
    installed: Installation, port: str, check: str, says: str, broken: dict[str, str]
) -> None:
    code, lines, said = asked(installed, OPSCENTER_PORT=port, **broken)
    assert (failing(lines), code) == ({check}, 1)
    assert says in lines[check]["text"]
    assert lines[check]["help"] and lines[check]["docs"]
    assert "hidden-word" not in said


def test_a_secret_that_can_be_guessed_stops_it(installed: Installation) -> None:
    done = installed.manage("doctor", **HEALTHY | {"OPSCENTER_SECRET_KEY": "changeme" * 5})
    assert done.returncode == 1
    assert "OPSCENTER_SECRET_KEY" in done.stderr and "changeme" not in done.stderr


def test_it_tells_an_empty_database_from_an_old_one(
    installed: Installation, tmp_path: Path
) -> None:
    empty = {"OPSCENTER_DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    _, lines, _ = asked(installed, OPSCENTER_PORT=str(gateway.free_port()), **empty)
    assert "it is empty" in lines["database"]["text"]
    assert "make run" in lines["database"]["help"]
    assert lines["machines"]["text"] == "Its tables cannot be read: see the line database."


def test_it_sees_that_nothing_listens(installed: Installation) -> None:
    code, lines, _ = asked(installed, OPSCENTER_PORT=str(gateway.free_port()))
    assert (failing(lines), code) == ({"server"}, 1)
    assert "OPSCENTER_PORT belongs into its settings" in lines["server"]["help"]


def test_it_names_a_migration_that_is_not_applied_and_an_upstream_that_is_away(
    tmp_path: Path, port: str
) -> None:
    installed = Installation(var=tmp_path)
    installed.setup(**HEALTHY)
    added = ("upstreams", "add", "away", f"http://{NOWHERE}", "--kind", "openai")
    assert installed.manage(*added, **HEALTHY).returncode == 0
    _, lines, _ = asked(installed, OPSCENTER_PORT=port)
    assert failing(lines) == {"upstream away"}
    with closing(sqlite3.connect(tmp_path / "opscenter.sqlite3")) as database, database:
        database.execute(
            "DELETE FROM django_migrations WHERE id = (SELECT max(id) FROM django_migrations)"
        )
    code, lines, _ = asked(installed, OPSCENTER_PORT=port)
    assert (failing(lines), code) == ({"database"}, 1)
    assert "manage.py migrate" in lines["database"]["help"]


def test_its_table_is_plain_where_nobody_looks(installed: Installation, port: str) -> None:
    done = installed.manage("doctor", OPSCENTER_PORT=port, **HEALTHY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("ok       secrets ")
    assert done.stdout.endswith("\nAll is well.\n")


def test_its_table_fits_into_80_columns(installed: Installation) -> None:
    away = {"LAGO_API_URL": f"http://{NOWHERE}", "LAGO_API_KEY": "hidden-word"}
    done = installed.manage("doctor", OPSCENTER_PORT=str(gateway.free_port()), **HEALTHY | away)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[-1] == "2 failed, 0 warned."
    assert max(map(len, lines)) <= 80
    [server] = [number for number, line in enumerate(lines) if line.startswith("fails    server")]
    assert (
        lines[server + 1].startswith(" " * 20)
        and "Start it: make run, or systemctl" in lines[server + 1]
    )
    assert "See docs/setup.md#it-cannot-connect" in done.stdout
