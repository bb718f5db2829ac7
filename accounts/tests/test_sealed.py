"""Secrets that are encrypted where they lie."""

import pytest
from pytest_django import Settings

from accounts import sealed

OLD, NEW = "o" * 32, "n" * 32
SECRET = "sk-ant-api03-the-secret"


def test_it_gives_back_what_was_sealed(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [NEW]
    token = sealed.seal(SECRET)
    assert sealed.opened(token) == SECRET
    assert SECRET not in token
    assert sealed.seal(SECRET) != token  # equal secrets cannot be told by looking


def test_it_opens_under_an_older_key_and_reseals_under_the_newest(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    token = sealed.seal(SECRET)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert sealed.opened(token) == SECRET
    fresh = sealed.resealed(token)
    settings.ENCRYPTION_KEYS = [NEW]
    assert sealed.opened(fresh) == SECRET
    with pytest.raises(sealed.SealedError, match="no key in OPSCENTER_ENCRYPTION_KEYS fits"):
        sealed.opened(token)


@pytest.mark.parametrize("token", ["", "x", "gAAAAA", "é", "gAAAAABn" + "A" * 100])
def test_it_refuses_what_it_never_sealed(settings: Settings, token: str) -> None:
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(sealed.SealedError, match="cannot be decrypted"):
        sealed.opened(token)


def test_it_notices_a_changed_token(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = [NEW]
    token = sealed.seal(SECRET)
    changed = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    with pytest.raises(sealed.SealedError):
        sealed.opened(changed)


def test_it_says_that_no_key_is_set(settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = []
    for use in (sealed.seal, sealed.opened):
        with pytest.raises(sealed.SealedError, match="OPSCENTER_ENCRYPTION_KEYS is not set"):
            use("x")


def test_it_tells_secrets_apart_without_showing_them() -> None:
    one, same, other = map(sealed.fingerprint, ("a", "a", "b"))
    assert one == same != other
    assert (len(one), int(one, 16) >= 0) == (8, True)
