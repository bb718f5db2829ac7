"""Signing in with a browser, and the tokens that come of it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from opscenter_connector import cli, config, signedin, signin
from opscenter_connector.mistakes import AwayError, CredentialError
from opscenter_connector.signedin import SignedIn, Tokens
from tests import provider as providers
from tests.provider import Provider

PENDING = (400, {"error": "authorization_pending"})


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setattr(signin, "LEAST_S", 0.0)
    with providers.serving() as found:
        found.device["interval"] = 0
        yield found


@pytest.fixture
def home(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MCP_API_KEY", "MCP_API_KEY_FILE", "MCP_USER_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MCP_API_URL", provider.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_of(home: Path) -> Path:
    return home / "opscenter-connector" / "login.json"


def keep(path: Path, url: str, *, left_s: float = 0.0, api_url: str = "") -> None:
    """A sign-in at this provider, for the gateway at `api_url` or for one of the same address."""
    found = SignedIn(
        api_url=api_url or url,
        client_id="cli",
        token_url=f"{url}/token",
        revocation_url=f"{url}/revoke",
        refresh_token="refresh-0",
        access_token="access-0",
        expires_at=time.time() + left_s,
    )
    signedin.write(path, found)


def test_it_waits_until_somebody_says_yes(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.device["verification_uri_complete"] = f"{provider.url}/yes?code=ABCD-EFGH"
    provider.answers = [PENDING, (400, {"error": "slow_down"}), (502, b"<html>"), PENDING]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(signin, "SLOWER_S", 0.01)
        assert cli.main(["login"]) == 0
    shown = capsys.readouterr()
    assert f"{provider.url}/yes?code=ABCD-EFGH" in shown.err and "ABCD-EFGH" in shown.err
    assert shown.out == ""
    assert file_of(home).stat().st_mode & 0o777 == 0o600
    path, form = provider.forms[0]
    assert (path, form["client_id"]) == ("/device", "cli")
    assert "offline_access" in form["scope"]
    assert cli.main(["token"]) == 0
    assert capsys.readouterr().out == "access-1\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {"error": "access_denied"}), "refused"),
        ((400, {"error": "expired_token"}), "expired_token"),
        ((200, {"access_token": "a"}), "refresh_token"),
        ((200, {"access_token": "a", "refresh_token": "b", "expires_in": "x"}), "expires_in"),
        ((200, {"access_token": "a b", "refresh_token": "b"}), "access_token"),
        ((500, {"error": "\x1b[2J"}), "failed"),
    ],
)
def test_it_says_why_it_came_to_nothing(
    home: Path,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[int, Any],
    words: str,
) -> None:
    provider.answers = [PENDING, answer]
    assert cli.main(["login"]) == 3
    said = capsys.readouterr().err
    assert words in said and "\x1b" not in said
    assert not file_of(home).exists()


@pytest.mark.parametrize("device", [{"expires_in": "x"}, {"expires_in": None}, {"interval": 1e300}])
def test_an_odd_code_is_named(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str], device: dict[str, Any]
) -> None:
    provider.device |= device
    assert cli.main(["login"]) == 3
    assert "no code could be had" in capsys.readouterr().err


@pytest.mark.parametrize("issuer", ["http://[::1", "http://x\0y", "http://x:99999999"])
def test_an_odd_issuer_is_named(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str], issuer: str
) -> None:
    provider.metadata = {"authorization_servers": [issuer]}
    assert cli.main(["login"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_nobody_signs_in_where_others_read_along() -> None:
    with pytest.raises(CredentialError, match="not encrypted"):
        signin._refuse_open("http://keycloak.example", "https://gateway.example")
    signin._refuse_open("http://127.0.0.1:1", "http://127.0.0.1:2")
    with pytest.raises(CredentialError, match="another address"):
        signin._endpoint({"e": "https://evil.example/t"}, "e", "https://keycloak.example/realms/x")


def test_a_renewal_waits_for_a_sign_out(home: Path, provider: Provider) -> None:
    keep(file_of(home), provider.url)
    with ThreadPoolExecutor(1) as pool:
        with signedin.alone(file_of(home)):
            renewal = pool.submit(Tokens(file_of(home), provider.url, None).current)
            file_of(home).unlink()
        with pytest.raises(CredentialError):
            renewal.result(30)
    assert not file_of(home).exists()


def test_a_code_runs_out(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.device["expires_in"] = 0
    assert cli.main(["login"]) == 3
    assert "nobody said yes in time" in capsys.readouterr().err


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"authorization_servers": []},
        {"authorization_servers": "x"},
        {"opscenter_client_id": 7},
    ],
)
def test_a_gateway_without_a_sign_in_says_so(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str], metadata: Any
) -> None:
    provider.metadata = metadata
    assert cli.main(["login"]) == 3
    assert "no sign-in for machines" in capsys.readouterr().err


def test_an_issuer_of_another_name_is_not_believed(
    home: Path, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.issuer_says = "https://evil.example"
    assert cli.main(["login"]) == 3
    assert "calls itself https://evil.example" in capsys.readouterr().err


def test_nobody_is_signed_in_at_first(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("token", "logout"):
        assert cli.main([command]) == 3
        assert "ops-connector login" in capsys.readouterr().err


def test_a_token_is_renewed_before_it_ends(home: Path, provider: Provider) -> None:
    path = file_of(home)
    keep(path, provider.url, left_s=signedin.LEFT_S + 30)
    held = Tokens(path, provider.url, None)
    assert held.current() == "access-0"
    keep(path, provider.url, left_s=signedin.LEFT_S - 1)
    assert held.current() == "access-1"
    assert provider.forms[-1][1]["refresh_token"] == "refresh-0"
    assert json.loads(path.read_text())["refresh_token"] == "refresh-1"


def test_one_of_many_renews_it(home: Path, provider: Provider) -> None:
    path = file_of(home)
    keep(path, provider.url)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: Tokens(path, provider.url, None).current(), range(24)))
    assert (found, provider.renewed) == ({"access-1"}, 1)


def test_a_refused_token_is_renewed_once(
    home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(home)
    keep(path, provider.url, left_s=300)
    held = Tokens(path, provider.url, None)
    assert held.current() == "access-0"
    assert held.was_refused()
    assert held.current() == "access-1"
    assert not held.was_refused()  # it came a moment ago; another would fare no better


def test_a_sign_in_that_has_ended_says_so(home: Path, provider: Provider) -> None:
    path = file_of(home)
    keep(path, provider.url)
    provider.answers = [(400, {"error": "invalid_grant"})]
    held = Tokens(path, provider.url, None)
    with pytest.raises(CredentialError, match="sign in again"):
        held.current()
    assert not held.was_refused()


@pytest.mark.parametrize("answer", [(503, {}), (200, b"<html>"), (200, {"access_token": 7})])
def test_keycloak_may_be_away(home: Path, provider: Provider, answer: tuple[int, Any]) -> None:
    path = file_of(home)
    keep(path, provider.url)
    provider.answers = [answer]
    held = Tokens(path, provider.url, None)
    with pytest.raises(AwayError):
        held.current()
    assert held.current() == "access-1"


def test_it_shows_its_token_to_no_other_gateway(home: Path, provider: Provider) -> None:
    keep(file_of(home), "https://other.example", left_s=300)
    with pytest.raises(CredentialError, match=r"other\.example"):
        Tokens(file_of(home), provider.url, None).current()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"api_url": "x"}', "\0"])
def test_a_spoilt_file_is_named(home: Path, provider: Provider, text: str) -> None:
    path = file_of(home)
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(CredentialError, match="holds no sign-in"):
        signedin.read(path)
    path.chmod(0o644)
    keep(path, provider.url)
    path.chmod(0o644)
    with pytest.raises(CredentialError, match="chmod 600"):
        signedin.read(path)


def test_who_signs_out_is_forgotten_there_too(home: Path, provider: Provider) -> None:
    keep(file_of(home), provider.url)
    assert cli.main(["logout"]) == 0
    assert provider.forms == [("/revoke", {"client_id": "cli", "token": "refresh-0"})]
    assert not file_of(home).exists()


def test_a_key_wins_over_a_sign_in(
    home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(file_of(home), provider.url)
    assert config.load({}, config.environment(), None).settings.is_signed_in  # type: ignore[arg-type]
    monkeypatch.setenv("MCP_API_KEY", "sk-uc-x")
    found = config.load({}, config.environment(), None)  # type: ignore[arg-type]
    assert (found.settings.api_key, found.settings.is_signed_in) == ("sk-uc-x", False)


def test_metadata_that_cannot_be_reached_is_named(home: Path) -> None:
    with httpx.Client() as client, pytest.raises(CredentialError, match="cannot be reached"):
        signin.discover(client, "http://127.0.0.1:9")
