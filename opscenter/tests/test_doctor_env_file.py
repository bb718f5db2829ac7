"""`manage.py doctor` about the file with the secrets: who else may read it."""

import os
from pathlib import Path

import pytest

from opscenter import env
from opscenter.doctor import installation
from opscenter.tests.test_docs import documented

NOBODY = 65534
FILE = "OPSCENTER_ENV_FILE"  # names the file itself, so it cannot stand in it
# CI and the image are root; for who is not there is no file of somebody else to make.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "opscenter.env"
    found.touch()
    monkeypatch.setattr(env, "DOTENV", found)  # the run itself has none, on purpose
    return found


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, "ok"), (0o640, "fails"), (0o604, "fails")])
def test_our_own_is_for_us_alone(file: Path, mode: int, verdict: str) -> None:
    file.chmod(mode)
    assert installation.env_file().verdict == verdict


@as_root
@pytest.mark.parametrize(("mode", "verdict"), [(0o640, "ok"), (0o660, "fails"), (0o644, "fails")])
def test_anothers_is_read_by_our_group(file: Path, mode: int, verdict: str) -> None:
    file.chmod(mode)
    os.chown(file, NOBODY, os.getegid())
    assert installation.env_file().verdict == verdict


def test_it_names_what_is_misspelt_and_what_was_meant(file: Path) -> None:
    file.chmod(0o600)
    file.write_text("OPSCENTER_WORKERS=2\nOPSCENTER_WORKERZ=3\nOTHER_WORKERS=4\n")
    found = installation.env_file()
    assert (found.verdict, found.help) == ("warn", "Was OPSCENTER_WORKERS meant?")
    assert "OPSCENTER_WORKERZ" in found.text


def test_it_knows_every_setting_that_is_documented(file: Path) -> None:
    file.chmod(0o600)
    file.write_text("".join(f"{name}=\n" for name in documented() if name != FILE))
    assert env.unknown() == {}
