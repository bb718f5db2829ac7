"""What of arguments is kept, and what of text is made visible."""

import time

import pytest

from mcp import preview, secrets, visible

SECRETS = [
    {"password": "hunter2-secret"},
    {"headers": {"Authorization": "hunter2-secret"}},
    {"command": "curl -H 'Authorization: Bearer hunter2-secret' https://a.example"},
    {"command": "curl https://alice:hunter2-secret@a.example/x"},
    {"command": "export GITHUB_TOKEN=hunter2-secret; make"},
    {"command": "mysql --password=hunter2-secret"},
    {"command": "deploy --api-key hunter2-secret"},
    {"text": "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2-secret\n-----END"},
    {"list": [{"client_secret": "hunter2-secret"}]},
    {"a": {"b": {"c": {"d": {"e": "hunter2-secret"}}}}},
    {"command": "curl -H 'X-Api-Key: hunter2-secret' https://a.example"},
    {"command": "curl -H 'Authorization:Bearer   hunter2-secret'"},
    {"command": "curl -H 'Cookie: sid=1; hunter2-secret'"},
    {"command": "curl -u alice:hunter2-secret https://a.example"},
    {"command": "curl https://hunter2-secret@a.example/x"},
    {"command": "curl 'https://a.example/?a=1&sig=hunter2-secret'"},
    {"command": "psql postgres://u:p%40hunter2-secret@h/db"},
    {"command": "mysql -phunter2-secret -u root"},
    {"command": "sshpass -p hunter2-secret ssh a"},
    {"command": "PGPASSWORD='a b hunter2-secret' psql"},
    {"command": "echo hunter2-secret | docker login --password-stdin"},
    {"command": "curl https://hooks.slack.com/services/T0/B0/hunter2-secret"},
    {"content": "password: hunter2-secret\n"},
    {"content": 'db:\n  password = "a hunter2-secret"\n'},
    {"content": '{"a": "{\\"client_secret\\": \\"hunter2-secret\\"}"}'},
    {"content": "PRIVATE_KEY=hunter2-secret\nA=1"},
    {"content": "MY_KEY=hunter2-secret"},
    {"content": "machine a login b password hunter2-secret"},
    {"content": "-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2-secret"},
    {"content": "pass\u200bword=hunter2-secret"},
    {"headers": [["Authorization", "hunter2-secret"]]},
    {"headers": [{"name": "X-Auth-Token", "value": "hunter2-secret"}]},
    {"env": ["MY_KEY=hunter2-secret"]},
    {"env": {"MY_KEY": "hunter2-secret"}},
    {"key": "hunter2-secret"},
    {"dsn": "hunter2-secret"},
    {"sk-ant-api03-hunter2-secret": 1},
]
KEYS = [
    "sk-ant-api03-abcdefghijklmnop",
    "sk-uc-abcdefghijkl-abcdefghijklmnopqrstuvwxyz",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11AAAA_bbbbbbbbbbbbbbbbbbbb",
    "glpat-abcdefghijklmnopqrst",
    "xoxb-123456789012-abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-ant-\u200bapi03-abcdefghijklmnop",
    "SG.abcdefghijklmnop.abcdefgh",
    "GOCSPX-abcdefghijklmnop",
    "ya29.abcdefghijklmnop",
    "AGE-SECRET-KEY-1ABCDEFGHIJKLMN",
    "0aBcDeFgHiJkLmNoPqRsTuVwXyZ",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("arguments", SECRETS, ids=str)
def test_it_keeps_no_secret(arguments: dict[str, object]) -> None:
    assert "hunter2" not in preview.of_arguments(arguments)


@pytest.mark.parametrize("key", KEYS)
def test_it_keeps_no_key(key: str) -> None:
    assert key[:12] not in preview.of_arguments({"command": f"use {key} now"})


@pytest.mark.parametrize(
    "text",
    [
        "git commit -m 'keys of the piano'",
        "mkdir -p src/bakery && python -m pytest tests/test_bread.py",
        "git checkout 3b0c2f0a1d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a",
        "author: Zoë",
        "https://example.org/a/b?page=2",
        "6a5f3a52-0b1c-4d2e-8f3a-1b2c3d4e5f60",
    ],
)
def test_it_hides_nothing_that_is_plain(text: str) -> None:
    assert secrets.hidden(text) == text


@pytest.mark.parametrize("piece", ["x-", "-", "token ", "echo ", "mysql -", "key='", "aA1", "\\"])
def test_no_text_keeps_it_busy(piece: str) -> None:
    began_s = time.process_time()
    secrets.hidden(piece * (4000 // len(piece)))
    assert time.process_time() - began_s < 0.5


def test_it_tells_what_was_wanted() -> None:
    said = preview.of_arguments(
        {"path": "src/é.py", "lines": [1, None, True], "text": "a\nb\u202e"}
    )
    assert said == '{"path": "src/é.py", "lines": [1, null, true], "text": "a\\nb\\u{202e}"}'


def test_it_ends_somewhere() -> None:
    said = preview.of_arguments({f"name {number}": "x" * 10_000 for number in range(1000)})
    assert len(said) == preview.MAX_CHARS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("make test", ["make test"]),
        ("a\nb", ["a", "[⏎]", "\nb"]),
        ("a\tb", ["a", "[⇥]", "\tb"]),
        ("rm\u202e -x", ["rm", "[U+202E]", " -x"]),
        ("a\u200bb", ["a", "[U+200B]", "b"]),
        ("\x1b[31m", ["[U+001B]", "[31m"]),
        ("a\xa0b", ["a", "[U+00A0]", "b"]),
        ("\x00", ["[U+0000]"]),
        ("é 漢 😀", ["é 漢 😀"]),
        ("", []),
    ],
)
def test_it_makes_visible_what_nobody_would_see(text: str, shown: list[str]) -> None:
    found = [f"[{part.text}]" if part.is_mark else part.text for part in visible.parts(text)]
    assert found == shown


def test_it_writes_in_one_line_what_can_be_read_back() -> None:
    assert visible.in_one_line("a\nb\\n\u202e\x1b") == "a\\nb\\\\n\\u{202e}\\u{1b}"
