"""Which folders may be allowed, how that is said, and what doctor and tools say about them."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import cli, config, sandbox
from opscenter_connector.checkup import builtin
from opscenter_connector.checkup.steps import FAILED, OK, WARNING, Finding, Patient, examine
from opscenter_connector.config import Config
from opscenter_connector.local import beneath
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.sandbox import Canary, Layer, Standing
from opscenter_connector.settings import LocalSpec


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to allow, in a home of one's own that is not where one stands."""
    home, elsewhere = tmp_path / "me", tmp_path / "elsewhere"
    folder = home / "src" / "bakery"
    folder.mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MCP_API_KEY", "sk-uc-x")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "MCP_ALLOWED_PATHS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def load(given: dict[str, Any], **environ: str) -> Config:
    return config.load(given, {"HOME": str(Path("~").expanduser())} | environ, io.StringIO())


def local(found: Config) -> LocalSpec:
    assert found.settings.local is not None
    return found.settings.local


def toml(text: str) -> Path:
    path = Path("connector.toml").absolute()
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/etc", "/etc/ssl", "/usr", "/usr/bin", "/usr/local/bin", "/proc/self", "/dev"),
        *("/var", "/home", "/root", "/tmp", "/var/tmp", "/dev/shm"),
        *("~", "~/.ssh", "~/.config", "~/.config/nvim", "~/.aws/x", "~/../"),
    ],
)
def test_it_refuses_what_would_hand_over_the_machine(path: str, tmp_path: Path) -> None:
    for name in (".ssh", ".config/nvim", ".aws/x"):
        (tmp_path / "me" / name).mkdir(parents=True)
    if not Path(path).expanduser().exists():
        pytest.skip("there is no such folder here")
    with pytest.raises(ConfigError, match="is refused"):
        load({"allowed_paths": path})


def test_a_link_is_judged_by_where_it_leads(project: Path) -> None:
    (project / "etc").symlink_to("/etc")
    (project / "home").symlink_to(Path("~").expanduser())
    for name in ("etc", "home"):
        with pytest.raises(ConfigError, match="is refused"):
            load({"allowed_paths": str(project / name)})


def test_it_refuses_a_file_and_what_everybody_may_write(project: Path) -> None:
    (project / "a").write_text("")
    with pytest.raises(ConfigError, match="is no folder"):
        load({"allowed_paths": str(project / "a")})
    project.chmod(0o777)
    with pytest.raises(ConfigError, match=f"chmod o-w {project}"):
        load({"allowed_paths": str(project)})


@pytest.mark.parametrize("own", ["config", "state_dir", "api_key_file", "mcp_config"])
def test_it_refuses_a_folder_that_holds_what_is_its_own(project: Path, own: str) -> None:
    files = {
        "config": project / "deep" / "connector.toml",
        "mcp_config": project / ".mcp.json",
        "api_key_file": project / "key",
        "state_dir": project / "state",
    }
    files["config"].parent.mkdir()
    files["config"].write_text("")
    files["mcp_config"].write_text('{"mcpServers": {}}')
    files["api_key_file"].write_text("sk-uc-x")
    files["api_key_file"].chmod(0o600)
    with pytest.raises(ConfigError, match=r"connector's own .* is in it"):
        load({"allowed_paths": str(project), own: str(files[own])})


def test_nothing_that_an_agent_wrote_where_one_stands_is_obeyed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    toml('[servers.mine]\ncommand = "evil"')
    with pytest.raises(ConfigError, match="connector's own"):
        load({"allowed_paths": str(project)})


def test_the_file_says_it_in_a_table_of_its_own(project: Path) -> None:
    toml(
        f'[local]\nallowed_paths = ["{project}"]\nsandbox = "landlock"\n'
        'sandbox_at_least = "landlock"\nread_only = true\ncall_limit_s = 60'
    )
    found = local(load({}))
    assert found.allowed_paths == (project,)
    assert (found.sandbox, found.sandbox_at_least) == ("landlock", "landlock")
    assert (found.read_only, found.call_limit_s) == (True, 60.0)
    assert local(load({"allowed_paths": f"{project.parent}"})).allowed_paths == (project.parent,)


def test_the_seeds_flag_and_variable_say_it_too(project: Path) -> None:
    other = project.parent / "other"
    other.mkdir()
    both = f"{project},{other}"
    assert local(load({"allowed_paths": both})).allowed_paths == (project, other)
    assert local(load({}, MCP_ALLOWED_PATHS=both)).allowed_paths == (project, other)
    assert load({}).settings.local is None
    toml(f'allowed_paths = ["{project}"]')
    assert local(load({})).allowed_paths == (project,)
    assert local(load({"allowed_paths": str(other)})).allowed_paths == (other,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[local]\nallowed_paths = 1", "line 2: allowed_paths must be a list"),
        ("[local]\nsandbox = 'docker'", "line 2: sandbox must be"),
        ("[local]\nsandbox_at_least = 'none'", "line 2: sandbox_at_least must be"),
        ("[local]\nread_only = 1", "line 2: read_only must be true or false"),
        ("[local]\nallowed_path = []", "did you mean 'allowed_paths'"),
        ("local = 1", "line 1: local must be a table"),
        ("allowed_paths = ['/a']\n[local]\nallowed_paths = ['/b']", "keep one"),
    ],
)
def test_it_names_the_line_of_a_mistake(text: str, reason: str) -> None:
    toml(text)
    with pytest.raises(ConfigError, match=reason):
        load({})


def test_no_other_server_has_its_name(project: Path) -> None:
    toml('[servers.local]\ncommand = "x"')
    assert load({}).settings.local is None
    with pytest.raises(ConfigError, match="is named 'local'"):
        load({"allowed_paths": str(project)})


def test_tools_lists_them(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tools", "--json", "--allowed-paths", str(project)]) == 0
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert (server["name"], server["state"]) == ("local", "ready")
    effects = {tool["name"]: tool["effects"] for tool in server["tools"]}
    assert effects == {
        "read_file": "read-only",
        "write_file": "effects!",
        "edit_file": "effects!",
        "glob": "read-only",
        "grep": "read-only",
        "list_directory": "read-only",
        "bash": "effects!",
    }


def findings(found: Config) -> dict[str, Finding]:
    async def all_of_them() -> dict[str, Finding]:
        steps = builtin.steps(found)
        return {one.step: one async for one in examine(steps, Patient(config=found))}

    return asyncio.run(all_of_them())


def test_doctor_looks_at_each_folder_and_tries_the_sandbox(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = project.parent / "other"
    other.mkdir()
    loaded = load({"allowed_paths": f"{project},{other}"})
    other.rmdir()
    canaries = (Canary(name="read", held=True), Canary(name="network", held=True))

    async def survey(*_: object, **__: object) -> Standing:
        return Standing(layer=Layer.BUBBLEWRAP, canaries=canaries)

    monkeypatch.setattr(sandbox, "survey", survey)
    found = findings(loaded)
    assert found["folder bakery"].state == OK
    assert found["folder other"].state == FAILED
    assert found["sandbox"].state == FAILED  # not without the folder
    other.mkdir()
    found = findings(loaded)
    assert (found["sandbox"].state, found["folder other"].state) == (OK, OK)
    assert "self-test: read, network held" in found["sandbox"].seen


def test_doctor_says_what_it_means_that_nothing_holds(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def survey(*_: object, **__: object) -> Standing:
        return Standing(layer=Layer.NONE, why="bubblewrap is not installed")

    monkeypatch.setattr(sandbox, "survey", survey)
    monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    found = findings(load({"allowed_paths": str(project)}))
    assert found["sandbox"].state == WARNING
    assert "bubblewrap is not installed; each command waits for a person" in found["sandbox"].why
    assert "links in it are not followed" in found["folder bakery"].seen


def test_doctor_tells_who_wants_no_sandbox_which_line_to_remove(project: Path) -> None:
    toml(f'[local]\nallowed_paths = ["{project}"]\nsandbox = "none"')
    found = findings(load({}))["sandbox"]
    assert found.state == WARNING
    assert found.fix == ('remove sandbox = "none" from [local] in connector.toml',)


def test_doctor_asks_for_no_sandbox_where_there_is_no_shell(project: Path) -> None:
    toml(f'[local]\nallowed_paths = ["{project}"]\nread_only = true')
    assert list(findings(load({}))) == ["folder bakery"]
