"""`manage.py doctor` about the file with the secrets: who else may read it."""

import os
from pathlib import Path

import pytest

from opscenter import env
from opscenter.doctor import installation

NOBODY = 65534
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
