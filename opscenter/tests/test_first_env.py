"""The `.env` of a new installation, and of who wrote one before."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dotenv import dotenv_values

from opscenter import first_env, guessable
from opscenter.tests.test_env import start


def test_it_writes_the_first_env_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    before = os.umask(0)  # the most careless shell there is
    try:
        assert first_env.write(path) is True
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = dotenv_values(path)
    assert set(found) == {
        "OPSCENTER_SECRET_KEY",
        "OPSCENTER_KEY_PEPPER",
        "OPSCENTER_ENCRYPTION_KEYS",
    }
    assert len(set(found.values())) == 3
    assert all(len(value or "") >= guessable.SECRET_CHARS for value in found.values())


def test_it_never_touches_an_env_that_is_there(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / ".env", tmp_path / "elsewhere"
    path.write_text("MINE=1\n")
    (tmp_path / "link").symlink_to(elsewhere)  # to nothing: writing would make it
    assert first_env.write(path) is False
    assert first_env.write(tmp_path / "link") is False
    assert path.read_text() == "MINE=1\n"
    assert not elsewhere.exists()


def test_it_writes_once_however_many_try(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as many:
        wrote = list(many.map(first_env.write, [tmp_path / ".env"] * 8))
    assert sorted(wrote) == [False] * 7 + [True]


def test_it_makes_an_env_that_the_product_starts_with(tmp_path: Path) -> None:
    own = {
        "OPSCENTER_ENV_FILE": str(tmp_path / ".env"),
        "OPSCENTER_SECRET_KEY": "",
        "OPSCENTER_KEY_PEPPER": "",
        "OPSCENTER_ENCRYPTION_KEYS": "",
    }
    first, second = (start("-m", "opscenter.first_env", **own) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "Wrote .env with new secrets.\n"
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert start("manage.py", "check", **own).returncode == 0


def test_it_keeps_the_port_that_the_first_start_is_told(tmp_path: Path) -> None:
    assert first_env.write(tmp_path / ".env", "9123") is True
    assert dotenv_values(tmp_path / ".env")["OPSCENTER_PORT"] == "9123"
    own = {"OPSCENTER_ENV_FILE": str(tmp_path / "second"), "OPSCENTER_PORT": "9124"}
    assert start("-m", "opscenter.first_env", **own).returncode == 0
    assert dotenv_values(tmp_path / "second")["OPSCENTER_PORT"] == "9124"


def test_it_says_how_an_env_of_ones_own_gets_a_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPSCENTER_PORT=9125\n")
    own = {"OPSCENTER_ENV_FILE": str(tmp_path / ".env"), "OPSCENTER_SECRET_KEY": ""}
    said = start("manage.py", "check", **own).stderr
    assert "into yours put OPSCENTER_SECRET_KEY= and `openssl rand -hex 32`" in said
