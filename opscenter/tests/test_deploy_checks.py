"""Django's own checks of an installation that people reach from outside."""

import secrets
import subprocess
import sys
from pathlib import Path

from tests.environment import ROOT


def test_it_is_ready_to_be_deployed(tmp_path: Path) -> None:
    names = ("OPSCENTER_SECRET_KEY", "OPSCENTER_KEY_PEPPER", "OPSCENTER_ENCRYPTION_KEYS")
    environment = {
        "PATH": "/usr/bin:/bin",
        "OPSCENTER_ENV_FILE": "/dev/null",
        "OPSCENTER_VAR_DIR": str(tmp_path),
        "EXTERNAL_API_URL": "https://gateway.example.com",
        "OPSCENTER_TRUSTED_PROXIES": "1",
        **{name: secrets.token_hex(32) for name in names},
    }
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stderr
