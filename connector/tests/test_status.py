"""`ops-connector status`: whose policy it shows."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from opscenter_connector import instance
from opscenter_connector.config import load
from opscenter_connector.policing import inforce
from opscenter_connector.policy import Default, Policy
from opscenter_connector.settings import LocalSpec, Settings
from tests import gateways
from tests.test_cli import alone, asked

__all__ = ["alone"]


def running(settings: Settings, folder: Path) -> Settings:
    """One that was started with a flag, and with other rules than the files have now."""
    return replace(
        settings,
        local=LocalSpec(allowed_paths=(folder,), quarantine=folder / "q"),
        policy=Policy(default=Default.DENY),
    )


def as_started(folder: Path) -> Settings:
    """By the same variables as the command."""
    return load({}, {"XDG_STATE_HOME": str(folder / "state")}, io.StringIO()).settings


async def test_it_shows_the_policy_of_the_connector_that_runs(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = as_started(alone)
    with instance.locked(settings.state_dir):
        inforce.write(settings.state_dir, inforce.of(running(settings, alone), "landlock"))
        assert (settings.state_dir / inforce.FILE).stat().st_mode & 0o777 == 0o600
        assert await asked(gateways.well, "status") == 0
        shown = capsys.readouterr().out
        assert "policy of the running connector" in shown
        assert "allow; sandbox: landlock" in shown
        assert "says something else" in shown
        assert await asked(gateways.well, "status", "--json") == 0
        said = json.loads(capsys.readouterr().out)
    assert (said["policy"]["default"], said["policy"]["roots"]) == ("deny", [str(alone)])
    assert (said["policy_runs"], said["policy_changes_at_start"]) == (True, True)


async def test_it_says_nothing_of_a_connector_that_has_ended(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = as_started(alone)
    settings.state_dir.mkdir(parents=True)
    inforce.write(settings.state_dir, inforce.of(running(settings, alone), "landlock"))
    assert await asked(gateways.well, "status") == 0
    shown = capsys.readouterr().out
    assert "running connector" not in shown
    assert "landlock" not in shown


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lines": 3}', '{"policy": [1]}'])
async def test_it_says_so_where_what_runs_has_not_told_its_policy(
    text: str, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = as_started(alone)
    with instance.locked(settings.state_dir):
        (settings.state_dir / inforce.FILE).write_text(text)
        assert await asked(gateways.well, "status") == 0
    assert "has not written" in capsys.readouterr().out
