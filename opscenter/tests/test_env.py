"""The environment: every wrong value stops the start, names its setting and tells no secret."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from billing import events
from opscenter import env
from tests import environment

NAME = "OPSCENTER_TESTED"
START_S = 30  # Django's own import takes half a second, on a loaded machine some more
SECRET = "the-secret-that-nobody-may-read"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the tested variable, as the environment of a process would."""
    return lambda raw: monkeypatch.setitem(env._ENVIRONMENT, NAME, raw)


@pytest.mark.parametrize("raw", ["", " ", "\t"])
def test_it_takes_the_default_for_what_is_empty(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    assert env.text(NAME, "x") == "x"
    assert env.flag(NAME, True) is True
    assert env.whole(NAME, 7) == 7
    assert env.seconds(NAME, 0.5) == 0.5
    assert env.words(NAME, ["a"]) == ["a"]
    assert env.url(NAME, "http://a") == "http://a"
    assert env.credential(NAME) == ""


@pytest.mark.parametrize("raw", ["true", "True", "TRUE", "1", "yes", "on", " on "])
def test_it_reads_yes(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    assert env.flag(NAME, False) is True


@pytest.mark.parametrize("raw", ["false", "False", "0", "no", "off"])
def test_it_reads_no(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    assert env.flag(NAME, True) is False


@pytest.mark.parametrize("raw", ["2", "maybe", "-1", "tru", "True!", "None", "null"])
def test_it_takes_nothing_else_for_yes_or_no(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    with pytest.raises(env.BadSettingError, match=f"^{NAME} must be true or false, not '{raw}'$"):
        env.flag(NAME, True)


@pytest.mark.parametrize(("raw", "value"), [("1", 1), (" 65535 ", 65535), ("0080", 80)])
def test_it_reads_a_whole_number(given: Callable[[str], None], raw: str, value: int) -> None:
    given(raw)
    assert env.whole(NAME, 7, most=65535) == value


@pytest.mark.parametrize(
    "raw",
    [
        *["0", "-1", "65536", "1.5", "1e3", "x", "0x10", "1 000", "1_000", "²", "+5"],
        "9" * 5000,
        "0" * 11 + "1" + "99999",  # the first twelve digits alone would pass
        "0" * 11 + "1" + "9" * 5000,
    ],
)
def test_it_names_a_number_that_is_no_port(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    said = f"{NAME} must be a whole number from 1 to 65535, not {raw!r}"
    with pytest.raises(env.BadSettingError) as error:
        env.whole(NAME, 7, most=65535)
    assert str(error.value) == said


@pytest.mark.parametrize(("raw", "value"), [("1", 1.0), ("0.001", 0.001), ("1e3", 1000.0)])
def test_it_reads_seconds(given: Callable[[str], None], raw: str, value: float) -> None:
    given(raw)
    assert env.seconds(NAME, 9) == value


@pytest.mark.parametrize(
    "raw", ["0", "-1", "-0.0", "nan", "inf", "-inf", "1e999", "5s", "x", "1,5"]
)
def test_it_names_seconds_that_nobody_can_wait(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    said = f"{NAME} must be a number of seconds above zero, not '{raw}'"
    with pytest.raises(env.BadSettingError) as error:
        env.seconds(NAME, 9)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("raw", "value"), [("a", ["a"]), ("a,b", ["a", "b"]), (" a , ,b,", ["a", "b"])]
)
def test_it_reads_words(given: Callable[[str], None], raw: str, value: list[str]) -> None:
    given(raw)
    assert env.words(NAME, []) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("http://h", "http://h"),
        ("https://h:8443/prefix/", "https://h:8443/prefix"),
        ("http://[::1]:8084", "http://[::1]:8084"),
        ("HTTP://Host//", "HTTP://Host"),
    ],
)
def test_it_reads_an_address(given: Callable[[str], None], raw: str, value: str) -> None:
    given(raw)
    assert env.url(NAME) == value


@pytest.mark.parametrize(
    "raw",
    [
        *["host:80", "ftp://host", "http://", "//host", "http:host", "http://host:99999"],
        *["http://host:0", "http://host:x", "http://[::1", "x", "http://:80", "javascript:1"],
    ],
)
def test_it_names_what_is_no_address(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    said = f"{NAME} must be an http:// or https:// address, not {raw!r}"
    with pytest.raises(env.BadSettingError) as error:
        env.url(NAME)
    assert str(error.value) == said


def test_it_tells_no_password_of_an_address(given: Callable[[str], None]) -> None:
    given(f"htp://user:{SECRET}@host")
    with pytest.raises(env.BadSettingError, match=NAME) as error:
        env.url(NAME)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("raw", ["", "short", SECRET, "x" * 31])
def test_it_names_a_secret_that_can_be_guessed(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    with pytest.raises(env.BadSettingError, match=f"^{NAME} must be a secret of at least 32") as e:
        env.secret(NAME)
    assert not raw or raw not in str(e.value)


def test_it_gives_no_secret_of_ours_as_a_credential(given: Callable[[str], None]) -> None:
    given("x" * 40)
    assert env.credential(NAME) == ""
    assert env.credential("") == ""


START = [
    ("OPSCENTER_SECRET_KEY", ""),
    ("OPSCENTER_SECRET_KEY", SECRET),
    ("OPSCENTER_KEY_PEPPER", SECRET),
    ("OPSCENTER_ENCRYPTION_KEYS", SECRET),
    ("LAGO_WEBHOOK_SECRET", SECRET),
    ("OPSCENTER_DEBUG", "maybe"),
    ("ANTHROPIC_PROXY_ENABLED", "maybe"),
    ("OPSCENTER_PORT", "0"),
    ("OPSCENTER_BODY_MAX_BYTES", "32MB"),
    ("OPSCENTER_MEMORY_TTL_S", "0"),
    ("EXTERNAL_API_URL", "gateway.example.com"),
    ("BRIGADE_URL", "localhost:9000"),
    ("OPSCENTER_LOG_LEVEL", "LOUD"),
    ("OPSCENTER_DATABASE_URL", f"postgrs://opscenter:{SECRET}@db/opscenter"),
    ("OPSCENTER_DATABASE_URL", f"postgres://opscenter:{SECRET}@db/opscenter?sslmod=require"),
    *[("OPSCENTER_DATABASE_URL", raw) for raw in ("postgres://", "sqlite://:memory:")],
    *[("OPSCENTER_REDIS_URL", f"redis://:{SECRET}@cache:{raw}") for raw in ("abc/0", "1/zero")],
]


def start(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python as people do, under the product's own settings. Empty variables are unset."""
    variables = environment.child(**{"DJANGO_SETTINGS_MODULE": "opscenter.settings"} | more)
    return subprocess.run(  # noqa: S603  (our own interpreter and files)
        [sys.executable, *command],
        cwd=environment.ROOT,
        env={name: value for name, value in variables.items() if value},
        capture_output=True,
        text=True,
        timeout=START_S,
    )


@pytest.mark.parametrize(("name", "raw"), START)
def test_it_does_not_start_with_a_wrong_value(name: str, raw: str) -> None:
    done = start("manage.py", "check", **{name: raw})
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"ops-center: {name} must be ")
    assert SECRET not in line


def test_it_starts_with_what_the_tests_set() -> None:
    done = start("manage.py", "check")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_says_the_same_when_a_server_imports_it() -> None:
    done = start("-c", "import opscenter.asgi", OPSCENTER_PORT="0")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(
        "OPSCENTER_PORT must be a whole number from 1 to 65535, not '0'"
    )


def test_a_list_that_is_checked_says_what_is_wrong_with_it(given: Callable[[str], None]) -> None:
    given("model, colour")
    with pytest.raises(env.BadSettingError, match=f"{NAME}: 'colour' is no property"):
        env.checked(NAME, [], events.fields)
    given("")
    assert env.checked(NAME, ["model"], events.fields) == {"model": "model"}


@pytest.mark.parametrize(("raw", "days"), [("", 0), ("0", 0), ("35", 35), ("3650", 3650)])
def test_it_reads_how_long_rows_are_kept(given: Callable[[str], None], raw: str, days: int) -> None:
    given(raw)
    assert env.retention(NAME, least=35) == days


@pytest.mark.parametrize("raw", ["34", "-1", "a year", "1e3", "999999", "³"])
def test_it_names_a_retention_that_would_lose_bills(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    with pytest.raises(env.BadSettingError, match="from 35 on"):
        env.retention(NAME, least=35)


@pytest.mark.parametrize(
    "raw", ["a" * 64, "changeme" * 8, "django-insecure-0123456789abcdefghijkl"]
)
def test_it_takes_no_example_for_a_secret(given: Callable[[str], None], raw: str) -> None:
    given(raw)
    for read in (env.secret, env.secrets, env.secret_or_none):
        with pytest.raises(env.BadSettingError, match="can be guessed") as error:
            read(NAME)
        assert raw not in str(error.value)


@pytest.mark.parametrize(
    "raw",
    [
        *["postgres://opscenter:postgres@db/o", "postgres://opscenter:OpsCenter@10.0.0.5:5432/o"],
        *[
            "postgres://joe:joe@db/o",
            "postgres://o:change%6de@db/o",
            "postgresql://o:p%61ss@[fd00::5]/o",
        ],
        "postgres://opscenter:THE-SAME@postgres:5432/opscenter",  # docs/operations.md
    ],
)
def test_it_takes_no_example_for_a_database_password(
    given: Callable[[str], None], raw: str
) -> None:
    given(raw)
    with pytest.raises(env.BadSettingError, match=f"^{NAME} has a password that everybody tries"):
        env.database(NAME, "sqlite:///x")


def test_it_takes_no_example_for_a_password_of_redis(given: Callable[[str], None]) -> None:
    given("rediss://:foobared@cache:6379/0")
    with pytest.raises(env.BadSettingError, match=f"^{NAME} has a password that everybody tries"):
        env.address(NAME, scheme="redis")
    for raw in (
        "redis://redis:6379/0",
        "redis://:foobared@127.0.0.1/0",
        "redis://:f00barred@cache",
    ):
        given(raw)
        assert env.address(NAME, scheme="redis") == raw


@pytest.mark.parametrize(
    "raw",
    [
        *["postgres://opscenter:password@127.0.0.1:5432/opscenter", "postgres://o:o@localhost/o"],
        *["postgres://o@db/o", "postgres://o:my-own-password@db/o", "postgres://o:o@[::1]/o"],
        "postgres://o:o@%2Fvar%2Frun%2Fpostgresql/o",
    ],
)
def test_it_takes_any_password_of_ones_own_and_on_this_machine(
    given: Callable[[str], None], raw: str
) -> None:
    given(raw)
    assert env.database(NAME, "sqlite:///x")["NAME"] in {"o", "opscenter"}


def test_it_says_that_an_env_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"OPSCENTER_DEBUG=\xff\xfe")
    done = start("manage.py", "check", OPSCENTER_ENV_FILE=str(tmp_path / ".env"))
    assert done.returncode == 1
    assert done.stderr == f"ops-center: {tmp_path}/.env cannot be read: it is no text in UTF-8\n"
