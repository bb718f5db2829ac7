"""Where the key may come from, and what is refused."""

from pathlib import Path

import pytest

from opscenter_connector import config
from tests.test_config import here, load, toml

__all__ = ["here"]  # a fixture


def key_file(text: str, mode: int = 0o600, name: str = "key") -> Path:
    path = Path(name)
    path.write_text(text)
    path.chmod(mode)
    return path.absolute()


def test_it_refuses_a_file_that_others_can_read() -> None:
    path = key_file("sk-uc-abc", mode=0o640)
    found = load({"api_key_file": str(path)})

    assert found.settings.api_key == ""
    assert f"chmod 600 {path}" in found.key_problem
    assert "mode 0640" in found.key_problem


def test_it_quotes_the_path_in_the_command_it_gives() -> None:
    key_file("sk-uc-abc", mode=0o644, name="my key")
    assert load({"api_key_file": "my key"}).key_problem.endswith("/my key'")


def test_it_reads_the_first_line_of_stdin() -> None:
    for given in ({"api_key_stdin": True}, {"api_key": "-"}):
        found = load(given, stdin="sk-uc-abc\nmore\n")
        assert found.settings.api_key == "sk-uc-abc"
        assert found.key_from == "standard input"
        assert found.warnings == ()


def test_it_takes_a_key_in_argv_and_warns() -> None:
    found = load({"api_key": "sk-uc-abc"}, {"MCP_API_KEY": "sk-uc-other"})
    assert found.settings.api_key == "sk-uc-abc"
    assert found.warnings == (config.ARGV_WARNING,)
    assert "sk-uc-abc" not in found.warnings[0]


def test_it_takes_the_variable_before_the_file() -> None:
    key_file("sk-uc-file")
    toml('api_key_file = "key"')
    assert load(environ={"MCP_API_KEY": "sk-uc-env"}).settings.api_key == "sk-uc-env"
    assert load().settings.api_key == "sk-uc-file"


def test_it_reads_the_file_that_a_variable_names() -> None:
    key_file("sk-uc-file")
    found = load(environ={"MCP_API_KEY_FILE": "key"})
    assert (found.settings.api_key, found.key_from) == ("sk-uc-file", "MCP_API_KEY_FILE")


@pytest.mark.parametrize("text", ["", "  \n", "two words", "sk-uc-ä", "a\nb", "x" * 5000])
def test_it_refuses_what_is_no_key_and_does_not_repeat_it(text: str) -> None:
    key_file(text)
    problem = load({"api_key_file": "key"}).key_problem
    assert "holds no API key" in problem
    assert not text.strip() or text not in problem


def test_it_says_where_a_key_may_come_from() -> None:
    problem = load().key_problem
    for way in ("--api-key-file", "--api-key-stdin", "MCP_API_KEY", "createapikey"):
        assert way in problem


def test_it_says_that_the_file_is_not_there() -> None:
    assert "No such file" in load({"api_key_file": "nowhere"}).key_problem
