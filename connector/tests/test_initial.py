"""`ops-connector init`."""

import io
import stat
from pathlib import Path

import pytest

from opscenter_connector import cli, config, initial
from opscenter_connector.config import FILE
from tests.test_cli import alone

__all__ = ["alone"]  # a fixture


def test_it_writes_what_flags_say_for_this_user_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"a": {"command": "x"}}}')
    argv = ["init", "--api-url", "https://g.example/v1", "--mcp-config", ".mcp.json", "--name"]
    assert cli.main([*argv, 'my "laptop"']) == 0

    path = Path(FILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = config.load({}, {}, io.StringIO()).settings
    assert (found.api_url, found.name) == ("https://g.example", 'my "laptop"')
    assert [server.name for server in found.servers] == ["a"]
    assert "ops-connector run" in capsys.readouterr().out


def test_it_writes_over_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path(FILE).write_text("# mine")
    assert cli.main(["init"]) == 2
    assert Path(FILE).read_text() == "# mine"
    assert "left as it is" in capsys.readouterr().err


def test_it_leaves_no_file_behind_for_a_value_that_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["init", "--api-url", "ftp://x"]) == 2
    assert not Path(FILE).exists()


def test_it_writes_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--api-key", "sk-uc-hush"]) == 2
    assert not Path(FILE).exists()
    assert "hush" not in capsys.readouterr().err


def test_it_asks_four_things_and_takes_empty_answers() -> None:
    asked: list[str] = []
    answers = iter(["https://g.example", "", "", ""])

    def prompt(question: str) -> str:
        asked.append(question)
        return next(answers)

    assert initial.ask(prompt) == {
        "api_url": "https://g.example",
        "api_key_file": "~/.config/opscenter-connector/key",
    }
    assert len(asked) == 4


def test_it_says_how_to_put_the_key_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--api-key-file", "~/nowhere/key", "--config", "etc/c.toml"]) == 0
    shown = capsys.readouterr().out
    assert "umask 077; mkdir -p ~/nowhere; cat > ~/nowhere/key" in shown
    assert f"ops-connector run --config {Path('etc/c.toml').absolute()}" in shown


def test_every_comment_is_a_key_that_works(tmp_path: Path) -> None:
    lines = initial.text({}).splitlines()
    keys = [line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")]
    text = "\n".join(keys)
    for example in ('"/etc/ssl/company-ca.pem"', '".mcp.json"', '["/home/me/src"]'):
        assert example in text
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {}}')
    (tmp_path / "src").mkdir()
    text = text.replace("/etc/ssl/company-ca.pem", "ca.pem")
    text = text.replace("/home/me/src", str(tmp_path / "src"))
    Path(FILE).write_text(text)
    environ = {"HOME": str(tmp_path), "DOCS_TOKEN": "t"}
    found = config.load({}, environ, io.StringIO())
    assert [server.name for server in found.settings.servers] == ["files", "docs"]
    assert found.settings.local is not None
    assert found.settings.local.allowed_paths == (tmp_path / "src",)
