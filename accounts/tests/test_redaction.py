"""Secrets in texts: those that look like one, and those that are known."""

import time
from collections.abc import Iterator

import pytest

from accounts import redaction
from accounts.redaction import HIDDEN, body_without_known, redacted, without_known

SECRET = "a" * 22 + "Z" * 21


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # What the settings of the test run hold is known to the whole process.
    monkeypatch.setattr(redaction, "_known", {})
    yield


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key sk-uc-0123456789ab-{SECRET} shown", f"key sk-uc-0123456789ab-{HIDDEN} shown"),
        ("sk-ant-api03-abcdefgh_-ijkl", HIDDEN),
        ("Authorization: Bearer abcdefgh.ijk", f"Authorization: Bearer {HIDDEN}"),
        (f"Bearer sk-uc-0123456789ab-{SECRET}", f"Bearer sk-uc-0123456789ab-{HIDDEN}"),
        ("token eyJhbGciOi.eyJzdWIi.c2lnbmF0", f"token {HIDDEN}"),
        ("session-eyJhbGciOi.eyJzdWIi.c2lnbmF0", f"session-{HIDDEN}"),
        ("postgres://ops:pa%20ss@db:5432/x", f"postgres://ops:{HIDDEN}@db:5432/x"),
        ("redis://:word@cache", f"redis://:{HIDDEN}@cache"),
        ("{'x-api-key': 'abcdefgh'}", f"{{'x-api-key': '{HIDDEN}'}}"),
        ("sessionid=abcdefgh; x", f"sessionid={HIDDEN}; x"),
        ("key 0123456789ab of user 7", "key 0123456789ab of user 7"),
        ("POST '/v1/messages' 401 req_0199", "POST '/v1/messages' 401 req_0199"),
        ("input_tokens: 12", "input_tokens: 12"),
    ],
)
def test_it_hides_what_looks_like_a_secret_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "again", ["eyJ-", "eyJaaaaa-", "eyJaaaaa_", "sk-", "bearer ", "token=", "a://:"]
)
def test_nobody_keeps_it_busy(again: str) -> None:
    """Looking to the end for each of these takes minutes; for some hundred characters, a second."""
    began = time.process_time()
    redacted(again * (2**19 // len(again)))
    assert time.process_time() - began < 30


def test_it_hides_what_is_known_whatever_it_looks_like() -> None:
    redaction.know("one", ["correct horse", "correct horse battery", "short"])
    redaction.know("two", ["staple/plain"])
    assert redacted("correct horse battery, short") == f"{HIDDEN}, short"
    assert without_known("staple/plain sk-ant-api03-abcdefgh") == f"{HIDDEN} sk-ant-api03-abcdefgh"
    assert body_without_known(b"\xff correct horse") == b"\xff " + HIDDEN.encode()


def test_it_forgets_a_secret_that_its_source_no_longer_has() -> None:
    redaction.know("one", ["former secret"])
    redaction.know("one", ["present secret"])
    assert without_known("former secret, present secret") == f"former secret, {HIDDEN}"
