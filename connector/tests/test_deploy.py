"""What deploy/ starts is what the command line takes."""

import plistlib
import re
import shlex
from pathlib import Path

from opscenter_connector import arguments
from opscenter_connector.endings import ExitCode

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def test_the_unit_starts_what_there_is_and_stops_for_what_a_person_must_see_to() -> None:
    unit = (DEPLOY / "opscenter-connector.service").read_text()
    (line,) = re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)
    program, *argv = shlex.split(line)
    assert program.endswith("/ops-connector")
    assert arguments.parse(argv)[0] == "run"
    (codes,) = re.findall("^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    final = set(ExitCode) - {ExitCode.STOPPED, ExitCode.FAILED}
    assert {int(code) for code in codes.split()} == final


def test_the_agent_starts_what_there_is() -> None:
    with (DEPLOY / "com.opscenter.connector.plist").open("rb") as file:
        agent = plistlib.load(file)
    *_, line = agent["ProgramArguments"]
    words = shlex.split(line.split("exec ")[1].split(" 2>>")[0])
    assert words[0].endswith("/ops-connector")
    assert arguments.parse(words[1:])[0] == "run"
