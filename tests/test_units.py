"""The systemd units: they are well-formed, start what there is, and follow a change of release."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dj_database_url
import httpx
import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from dotenv import dotenv_values

from tests import gateway as gateways
from tests import image, units
from tests.environment import ROOT
from tests.units import Unit

UNITS = units.ours()
GATEWAY = UNITS["opscenter.service"]
EXAMPLE = units.DEPLOY / "opscenter.env"
SECRETS = ("OPSCENTER_SECRET_KEY", "OPSCENTER_KEY_PEPPER", "OPSCENTER_ENCRYPTION_KEYS")
EXPOSURE = 15  # tenths of what systemd counts; 11 were found, the network is most of it
by_unit = pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
analyze = shutil.which("systemd-analyze")
# A developer's machine may have no systemd; CI has it.
needs_analyze = pytest.mark.skipif(not analyze, reason="systemd-analyze is not here")


def systemd_analyze(*arguments: str | Path) -> str:
    """What it says; it ends with a failure where it finds something."""
    command = [str(analyze), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_analyze
def test_systemd_understands_them(tmp_path: Path) -> None:
    """With a Python that is there: it looks whether the program can be started."""
    places = {"current": ROOT, "python": sys.executable, "env_file": EXAMPLE}
    for name, unit in UNITS.items():
        (tmp_path / name).write_text(units.moved(unit, **places).text)  # type: ignore[arg-type]  # of three kinds
    assert systemd_analyze("verify", *(tmp_path / name for name in UNITS)) == ""


@needs_analyze
@by_unit
def test_they_may_do_little(unit: Unit) -> None:
    file = units.DEPLOY / unit.name
    systemd_analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", file)


@by_unit
def test_they_start_commands_that_there_are(unit: Unit) -> None:
    python, manage, name, *options = unit.command
    assert python.startswith("/opt/opscenter/current/") and manage.endswith("/manage.py")
    command = load_command_class(get_commands()[name], name)
    command.create_parser("manage.py", name).parse_args(options)


@by_unit
def test_they_come_back_and_have_the_time_to_end(unit: Unit) -> None:
    assert unit.the("Restart") == "always" and unit.the("StartLimitIntervalSec") == "0"
    assert unit.the("KillMode") == "mixed"
    assert int(unit.the("TimeoutStopSec")) >= settings.DRAIN_S + 5


@by_unit
def test_they_are_held_alike(unit: Unit) -> None:
    assert unit.sandbox() == GATEWAY.sandbox()
    assert unit.environment["OPSCENTER_ENV_FILE"] == units.ENV_FILE


@by_unit
def test_they_need_no_program_that_a_bare_host_lacks(unit: Unit) -> None:
    lines = [line for key in ("Condition", "Start", "Reload") for line in unit.all(f"Exec{key}")]
    programs = {shlex.split(line)[0] for line in lines}
    assert programs <= {units.PYTHON, "/bin/grep", "/bin/sh"}


def test_the_command_takes_files_from_where_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "mapping.json").write_text("no JSON")
    script = (units.DEPLOY / "opscenter.sh").read_text()
    for there, here in (
        ("/sbin/runuser -u opscenter --", ""),
        (f"OPSCENTER_ENV_FILE={units.ENV_FILE}", f"OPSCENTER_ENV_FILE={tmp_path / 'env'}"),
        ('"$release/.venv/bin/python"', sys.executable),
        (units.CURRENT, str(ROOT)),
    ):
        assert there in script
        script = script.replace(there, here)
    values = "".join(f"{name}={name}-{'0123456789abcdef' * 3}\n" for name in SECRETS)
    (tmp_path / "env").write_text(f"{values}OPSCENTER_VAR_DIR={tmp_path}\n")
    command = ["/bin/sh", "-c", script, "opscenter", "importmapping", "mapping.json"]
    command += ["--upstream", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "The file is not JSON" in done.stderr


def test_whoever_needs_lago_waits_for_it() -> None:
    condition = UNITS["opscenter-exporter.service"].the("ExecCondition").split()
    assert subprocess.run([*condition[:-1], EXAMPLE]).returncode == 1
    assert "#LAGO_API_URL=" in EXAMPLE.read_text()
    assert "--no-exporter" in GATEWAY.command


def test_the_settings_are_ones_that_there_are() -> None:
    known = (ROOT / "docs" / "settings.md").read_text()
    named = re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert "EXTERNAL_API_URL" in named and not set(named) & set(SECRETS)
    for name in named:
        assert f"`{name}`" in known, name
    found = dotenv_values(EXAMPLE)
    assert dj_database_url.parse(found["OPSCENTER_DATABASE_URL"] or "")["HOST"].startswith("/var")


def test_the_guide_names_what_there_is() -> None:
    guide = (ROOT / "docs" / "debian.md").read_text()
    for path in re.findall(r"/opt/opscenter/current/([\w./-]+)", guide):
        assert (ROOT / path).exists(), path
    assert all(name in guide for name in (*UNITS, *SECRETS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Two releases, the one that serves, and the unit that serves it."""

    releases: dict[str, Path]
    current: Path
    unit: Unit
    environment: dict[str, str]

    def switch(self, name: str) -> None:
        """As `ln -sfn` does, at once: a worker that still starts finds its modules at any time."""
        following = self.current.with_name("following")
        following.symlink_to(self.releases[name])
        following.replace(self.current)


@pytest.fixture
def host(transactional_db: None, tmp_path: Path) -> Host:
    releases = {}
    for name in ("former", "newer"):
        releases[name] = image.unpack(tmp_path / name)
        module = releases[name] / "opscenter" / "urls.py"
        text = module.read_text()
        assert text.count("    return HttpResponse()\n\n\n@csrf") == 1
        module.write_text(
            text.replace("HttpResponse()\n\n\n@csrf", f"HttpResponse('{name}')\n\n\n@csrf")
        )
    env_file = tmp_path / "opscenter.env"
    lines = {name: f"{name}-{'0123456789abcdef' * 3}" for name in SECRETS}
    lines |= {
        "OPSCENTER_DATABASE_URL": gateways.database_url(),
        "OPSCENTER_PORT": str(gateways.free_port()),
        "OPSCENTER_VAR_DIR": str(tmp_path / "var"),
        "OPSCENTER_WORKERS": "2",
        "OPSCENTER_DEFAULT_PLAN": "none",  # the tables of a test may hold no plan
    }
    env_file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    current = tmp_path / "current"
    unit = units.moved(GATEWAY, current=current, python=sys.executable, env_file=env_file)
    return Host(releases=releases, current=current, unit=unit, environment=lines)


@pytest.fixture
def serving(host: Host, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The unit's command in the unit's environment, from a folder that is no release."""
    host.switch("former")
    log = tmp_path / "log"
    environment = {"PATH": "/usr/bin:/bin", **host.unit.environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            host.unit.command, cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(gateways.STOP_S)
    assert "Traceback" not in log.read_text()


def test_a_reload_serves_the_release_that_is_current(
    host: Host, serving: subprocess.Popen[bytes]
) -> None:
    def says(name: str) -> bool:
        """All of them, asked one after the other on connections of their own."""
        assert serving.poll() is None
        url = f"http://127.0.0.1:{host.environment['OPSCENTER_PORT']}/api/hello"
        try:
            said = {httpx.get(url, trust_env=False, timeout=30).text for _ in range(8)}
        except httpx.ConnectError:
            return False
        return said == {name}

    gateways.eventually(lambda: says("former"), within_s=60)
    host.switch("newer")
    reload = host.unit.the("ExecReload").replace("$MAINPID", str(serving.pid))
    subprocess.run(shlex.split(reload), check=True)
    gateways.eventually(lambda: says("newer"), within_s=120)
