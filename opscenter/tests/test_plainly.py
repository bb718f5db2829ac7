"""Commands on a database that does not let them go on: a sentence that names the setting."""

from pathlib import Path

import pytest

from opscenter.tests.test_env import start
from tests import gateway

SECRET = "the-secret-that-nobody-may-read"
COMMANDS = [
    *[("prune",), ("rerateusage",), ("reapcalls", "--once"), ("verifyaudit",)],
    *[("explainroute", "x"), ("exportprices", "-")],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_it_names_the_setting_of_a_database_that_is_away(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    url = f"postgres://ops:{SECRET}@127.0.0.1:{gateway.free_port()}/none"
    own = {"OPSCENTER_DATABASE_URL": url, "OPSCENTER_VAR_DIR": str(tmp_path)}
    done = start("manage.py", *command, **own)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("ops-center: the database: connection failed")
    assert "OPSCENTER_DATABASE_URL" in line and SECRET not in line


def test_a_server_does_not_start_on_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database" * 500)
    port = str(gateway.free_port())
    own = {"OPSCENTER_DATABASE_URL": f"sqlite:///{tmp_path}/text", "OPSCENTER_PORT": port}
    done = start("manage.py", "serve", **own)
    assert done.returncode == 1
    assert "file is not a database" in done.stderr and "Traceback" not in done.stderr
