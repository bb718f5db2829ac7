"""What the tree of a request says in words."""

import json
from typing import Any

import pytest

from billing.tokens import TokenCounts
from opscenter import request_words
from opscenter.tests.test_request_tree import ROOT, call, step


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"state": "interrupted"}, "The client left before the end."),
        (
            {"state": "interrupted", "flags": "partial swept"},
            "Its process died: what it used is an estimate.",
        ),
        ({"state": "failed", "status": None}, "It failed."),
        ({"state": "failed", "status": 418}, "It failed (HTTP 418)."),
        (
            {"state": "failed", "status": 529, "error_type": "overloaded_error"},
            "The upstream has too much to do (overloaded_error, HTTP 529).",
        ),
        ({"state": "failed", "error_type": "odd_error"}, "It failed (odd_error, HTTP 200)."),
    ],
)
def test_it_says_why_a_step_failed(fields: dict[str, Any], words: str) -> None:
    assert request_words.why(step(ROOT, **fields)) == words


def test_it_says_who_answered() -> None:
    assert request_words.way(step(ROOT), "") == "claude-opus-5-5 at anthropic"
    other = step(ROOT, requested_model="claude-crew-team", served_model="opus")
    assert request_words.way(other, "claude-crew-team") == "claude-opus-5-5 at anthropic, as opus"
    told = "claude-crew-team → claude-opus-5-5 at anthropic, as opus"
    assert request_words.way(other, "") == told


def test_it_says_how_a_step_went() -> None:
    assert request_words.course(step(ROOT, ended=None)) == []
    moved = step(
        ROOT,
        first_byte_ms=310,
        longest_silence_ms=7_000,
        moved_from="a",
        attempts=3,
        stop_reason="max_tokens",
    )
    assert request_words.course(moved) == [
        "10.0 s",
        "first byte after 310 ms",
        "silent for 7.0 s",
        "moved here from a",
        "asked 3 times",
        "cut off at the most tokens it may have",
    ]


def test_a_short_silence_is_not_worth_a_word() -> None:
    assert request_words.course(step(ROOT, longest_silence_ms=4_999)) == ["10.0 s"]


def test_it_says_how_long_a_call_waited_and_ran() -> None:
    assert request_words.times(call(ROOT)) == ["waited 1.0 s", "ran 3.0 s"]
    assert request_words.times(call(ROOT, finished=None)) == ["waited 1.0 s"]
    assert request_words.times(call(ROOT, started=None)) == ["never ran, waited 4.0 s"]
    assert request_words.times(call(ROOT, started=None, finished=None)) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("approved", "alice", "web"), "approved by alice (web)"),
        (("refused", "", "terminal"), "refused (terminal)"),
        (("pending", "", ""), "waits for a person"),
        (("expired", "", ""), "nobody answered"),
    ],
)
def test_it_says_what_a_person_answered(answer: tuple[str, str, str], words: str) -> None:
    assert request_words.answer(*answer) == words


def test_it_says_tokens_by_their_class() -> None:
    assert request_words.tokens(TokenCounts()) == "0 in · 0 out"
    counts = TokenCounts(
        input_tokens=1_234,
        output_tokens=2,
        cache_read_tokens=3,
        cache_write_5m_tokens=4,
        cache_write_1h_tokens=5,
        server_tool_uses=6,
    )
    assert request_words.tokens(counts) == (
        "1,234 in · 2 out · 3 read from cache · 4 written to cache for 5 min"
        " · 5 written to cache for 1 h · 6 server tool uses"
    )


@pytest.mark.parametrize(
    ("seconds", "words", "tick"),
    [
        (0, "0 ms", "0"),
        (0.0004, "0 ms", "0.4 ms"),
        (0.2, "200 ms", "200 ms"),
        (0.9996, "1.0 s", "999.6 ms"),
        (2, "2.0 s", "2 s"),
        (59.96, "1 min 0 s", "59.96 s"),
        (90, "1 min 30 s", "1 min 30 s"),
        (3_600, "1 h 0 min", "1 h"),
        (100_000, "27 h 46 min", "27 h 46 min"),
        (-1, "0 ms", ""),
    ],
)
def test_it_says_how_long_something_took(seconds: float, words: str, tick: str) -> None:
    assert request_words.duration(seconds) == words
    if tick:
        assert request_words.moment(seconds) == tick


def of_text(*texts: str) -> str:
    content = [{"type": "text", "text": text} for text in texts]
    return json.dumps({"content": content, "isError": True})


OPENING = len(of_text("")) - len('"}], "isError": true}')


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        (of_text("No such\n file.", "", "Sorry."), "No such file. Sorry."),
        ('{"code": -1, "message": "Denied."}', "Denied."),
        ('{"content": 7, "message": 8}', "8"),
        (of_text("a" * 400), "a" * 299 + "…"),
        (of_text('He said "ä\\n".')[: OPENING + 10], 'He said "'),
        (of_text("A bear\n" + "x" * 100)[: OPENING + 11], "A bear xxx"),
        (of_text("Ü" * 9)[: OPENING + 16], "ÜÜ"),  # in the middle of an escape
        ('{"_meta": {', ""),
        ('{"content":[{"type":"text","text":"\\ud800 half"}]}', "? half"),
        ("[" * 5_000, ""),
    ],
)
def test_it_says_what_a_failed_call_said(result: str, words: str) -> None:
    assert request_words.said(result) == words
