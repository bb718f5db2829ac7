"""What of arguments is kept, and what of text is made visible."""

import pytest

from mcp import preview, visible

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
]
KEYS = [
    "sk-ant-api03-abcdefghijklmnop",
    "sk-uc-abcdefghijkl-abcdefghijklmnopqrstuvwxyz",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11AAAA_bbbbbbbbbbbbbbbbbbbb",
    "glpat-abcdefghijklmnopqrst",
    "xoxb-123456789012-abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("arguments", SECRETS, ids=str)
def test_it_keeps_no_secret(arguments: dict[str, object]) -> None:
    assert "hunter2" not in preview.of_arguments(arguments)


@pytest.mark.parametrize("key", KEYS)
def test_it_keeps_no_key(key: str) -> None:
    assert key[:12] not in preview.of_arguments({"command": f"use {key} now"})


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
