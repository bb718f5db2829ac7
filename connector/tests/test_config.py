"""What flags, environment and connector.toml make together."""

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import config
from opscenter_connector.config import Config
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.settings import Transport


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and a home of one's own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def load(
    given: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
) -> Config:
    home = {"HOME": str(Path.cwd().parent), "XDG_CONFIG_HOME": str(Path.cwd().parent / "xdg")}
    return config.load(given or {}, home | dict(environ or {}), io.StringIO(stdin))


def toml(text: str, mode: int = 0o600) -> Path:
    path = Path("connector.toml")
    path.write_text(text)
    path.chmod(mode)
    return path.absolute()


def test_it_needs_nothing_but_a_key() -> None:
    found = load(environ={"MCP_API_KEY": "sk-uc-abc"})

    assert found.settings.api_key == "sk-uc-abc"
    assert found.settings.api_url == "http://127.0.0.1:8084"
    assert found.settings.user_id == "me"
    assert found.settings.transport is Transport.AUTO
    assert found.settings.servers == ()
    assert found.key_problem == ""
    assert found.warnings == ()


def test_it_takes_the_flag_before_the_variable_before_the_file() -> None:
    toml('api_url = "https://file.example"\nuser_id = 7\n')
    environ = {"MCP_API_URL": "https://variable.example"}

    assert load().settings.api_url == "https://file.example"
    assert load().settings.user_id == "7"
    assert load(environ=environ).settings.api_url == "https://variable.example"
    assert load({"api_url": "https://flag.example"}, environ).settings.api_url == (
        "https://flag.example"
    )


def test_it_takes_the_server_that_started_it_if_nothing_else_is_said() -> None:
    beside = {"MCP_API_URL_DEFAULT": "http://127.0.0.1:9000"}
    assert load(environ=beside).settings.api_url == "http://127.0.0.1:9000"
    toml('api_url = "https://file.example"')
    assert load(environ=beside).settings.api_url == "https://file.example"


def test_it_prefers_the_file_here_to_the_users_own(here: Path) -> None:
    own = here.parent / "xdg/opscenter-connector/connector.toml"
    own.parent.mkdir(parents=True)
    own.write_text('name = "own"')

    assert load().settings.name == "own"
    toml('name = "here"')
    assert load().settings.name == "here"
    assert load({"config": str(own)}).settings.name == "own"
    assert load().files == (here / "connector.toml",)


def test_it_says_that_a_named_file_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"--config: there is no file .*nowhere\.toml"):
        load({"config": "nowhere.toml"})


@pytest.mark.parametrize(
    "said", ["https://g.example/v1", "https://g.example/v1/", "https://g.example/", "g.example"]
)
def test_it_takes_the_address_as_guides_write_it(said: str) -> None:
    assert load({"api_url": said}).settings.api_url == "https://g.example"


def test_it_keeps_a_path_in_front() -> None:
    found = load({"api_url": "https://g.example/ops/v1"})
    assert found.settings.api_url == "https://g.example/ops"


@pytest.mark.parametrize(
    "said", ["ftp://g.example", "https://", "https://a:b@g.example", "https://g:port"]
)
def test_it_refuses_what_is_no_address(said: str) -> None:
    with pytest.raises(ConfigError, match="MCP_API_URL"):
        load({"api_url": said})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('api_ur = "x"', r"line 1: 'api_ur' is not a key here; did you mean 'api_url'\?"),
        ('\n\ntransport = "carrier pigeon"', "line 3: transport must be .*websocket"),
        ("name = 3", "line 1: name must be a text in quotes, not 3"),
        ("max_in_flight = true", "line 1: max_in_flight must be a whole number .*not true"),
        ('allowed_paths = "/tmp"', "line 1: allowed_paths must be a list"),
        ("allowed_paths = [1]", "line 1: allowed_paths must be a list"),
        ('api_key = "sk-uc-1"', "line 1: .*a key does not belong in this file"),
        ('[servers.a]\ncommand = "x"\nargz = []', "line 3: 'argz' .*did you mean 'args'"),
        ('[servers.a]\nname = "x"', "line 2: 'name' .*belongs at the top of the file"),
        ('command = "x"', "line 1: 'command' .*belongs in .servers.NAME."),
        ("[servers]\na = 1", r"line 2: .servers.a. must be a table"),
        ("[servers.a]\nenv = { A = 1 }", "line 2: env must be texts by name"),
        ("[servers.a]\n", "has neither a command nor a url"),
        ("name = \n", "is not TOML.*line 1"),
        ('[servers."a b"]\ncommand = "x"', "a name is 1 to 64 letters"),
        ('[servers.a]\ncommand = "x"\nurl = "http://h/"', "both a command and a url"),
        ('[servers.a]\nurl = "h/mcp"', "url must be an http:// or https:// address"),
        ('[servers.a]\ncommand = "x"\ncwd = "nowhere"', "cwd .*nowhere is no folder"),
        ('[servers.a]\ncommand = "x"\ncall_limit_s = 1e9', "call_limit_s must be .*600 at most"),
        ('[servers.a]\ncommand = "x"\nstart_timeout_s = "1"', "start_timeout_s must be a number"),
    ],
)
def test_it_names_what_is_wrong_in_the_file(text: str, reason: str) -> None:
    toml(text)
    with pytest.raises(ConfigError, match=reason):
        load()


def test_it_shows_no_value_of_a_table() -> None:
    toml('[servers.a]\ncommand = "x"\nenv = ["TOKEN=hush"]')
    with pytest.raises(ConfigError) as caught:
        load()
    assert "hush" not in str(caught.value)


def test_it_starts_nothing_from_a_file_that_others_can_write() -> None:
    path = toml('name = "x"', mode=0o666)
    with pytest.raises(ConfigError, match=f"chmod o-w {path}"):
        load()


def test_it_finds_paths_beside_the_file(here: Path) -> None:
    folder = here / "etc"
    (folder / "work").mkdir(parents=True)
    key = folder / "key"
    key.write_text("sk-uc-abc\n")
    key.chmod(0o600)
    (folder / "c.toml").write_text(
        'api_key_file = "key"\nstate_dir = "state"\n'
        '[servers.a]\ncommand = "x"\ncwd = "work"\n[servers.b]\ncommand = "y"\n'
    )
    found = load({"config": "etc/c.toml"})

    assert found.settings.api_key == "sk-uc-abc"
    assert found.settings.state_dir == folder / "state"
    assert [server.cwd for server in found.settings.servers] == [folder / "work", folder]


def test_it_finds_paths_in_flags_where_one_stands(here: Path) -> None:
    (here / "etc").mkdir()
    (here / "etc/c.toml").write_text('state_dir = "x"')
    found = load({"config": "etc/c.toml", "state_dir": "x"})
    assert found.settings.state_dir == here / "x"


def test_it_keeps_state_where_systemd_says() -> None:
    assert load(environ={"STATE_DIRECTORY": "/s/a:/s/b"}).settings.state_dir == Path("/s/a")
    if sys.platform != "darwin":
        found = load(environ={"XDG_STATE_HOME": "/x"}).settings.state_dir
        assert found == Path("/x/opscenter-connector")


def test_it_takes_the_seeds_allowed_paths(here: Path) -> None:
    (here.parent / "link").symlink_to(here)
    found = load(environ={"MCP_ALLOWED_PATHS": f"{here}, {here.parent / 'link'},"})
    assert found.settings.local is not None
    assert found.settings.local.allowed_paths == (here, here.parent / "link")


@pytest.mark.parametrize(
    ("said", "reason"), [("here", "is relative; write /"), ("/no/such/folder", "does not exist")]
)
def test_it_checks_allowed_paths(said: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load({"allowed_paths": said})


@pytest.mark.parametrize("url", ["http://g.example", "ws://10.0.0.7:8084", "http://127.0.0.1.x"])
def test_c05_it_takes_no_gateway_without_tls_unless_told(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not encrypted.*--allow-http"):
        load({"api_url": url})
    assert "unencrypted to" in load({"api_url": url, "allow_http": True}).warnings[0]
    toml(f'api_url = "{url}"\nallow_http = true\n')
    assert "unencrypted to" in load().warnings[0]


def test_what_stays_on_this_machine_needs_no_tls() -> None:
    for url in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:8084"):
        assert load({"api_url": url}).warnings == ()


def test_it_refuses_servers_of_one_name(here: Path) -> None:
    (here / ".mcp.json").write_text(json.dumps({"mcpServers": {"a": {"command": "x"}}}))
    toml('mcp_config = ".mcp.json"\n[servers.a]\ncommand = "y"')
    with pytest.raises(ConfigError, match="server 'a' is named both"):
        load()


def test_it_does_not_show_the_key() -> None:
    assert "sk-uc-abc" not in repr(load(environ={"MCP_API_KEY": "sk-uc-abc"}))
