"""The built-in tools behind the policy: what is asked about, and what then runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import frames
from opscenter_connector.policy import Decision, Policy
from opscenter_connector.settings import LocalSpec
from tests.conftest import Connector
from tests.gateway import Gateway
from tests.person import Person
from tests.rows import Call

Start = Callable[..., Connector]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "bakery.txt").write_text("bread\n")
    return folder


@pytest.fixture
async def local(gateway: Gateway, start: Start, project: Path, tmp_path: Path) -> LocalSpec:
    """A machine whose commands nothing holds."""
    spec = LocalSpec(allowed_paths=(project,), quarantine=tmp_path / "q", sandbox="none")
    start(servers=(), local=spec)
    await gateway.serving("local")
    return spec


async def run(gateway: Gateway, tool: str, **arguments: Any) -> Call:
    call = gateway.submit(tool, server="local", **arguments)
    await gateway.ended(call)
    return call


async def test_it_reads_and_writes_in_the_folder_without_asking(
    gateway: Gateway, local: LocalSpec, project: Path
) -> None:
    assert "bread" in (await run(gateway, "read_file", path="bakery.txt")).text
    await run(gateway, "write_file", path=str(project / "new.txt"), content="rolls")
    assert (project / "new.txt").read_text() == "rolls"
    assert not gateway.count(frames.Ask)


async def test_without_a_sandbox_each_command_is_approved(
    gateway: Gateway, local: LocalSpec, project: Path
) -> None:
    call = gateway.submit("bash", server="local", command="touch made")
    asked = await gateway.asked(call)
    assert "may do all that the person may" in asked.reason
    assert not (project / "made").exists()
    gateway.approve(call)
    ended = await gateway.ended(call)
    assert ended.result is not None
    assert ended.result["_meta"]["opscenter/sandbox"] == "none"
    assert (project / "made").exists()
    other = gateway.submit("bash", server="local", command="touch made", cwd=str(project))
    other.approval = call.approval
    await gateway.asked(other)


async def test_a_person_sees_what_holds_a_command_and_where_it_starts(
    gateway: Gateway, start: Start, project: Path, tmp_path: Path
) -> None:
    person = Person()
    spec = LocalSpec(allowed_paths=(project,), quarantine=tmp_path / "q", sandbox="none")
    start(servers=(), local=spec, desk=person)
    await gateway.serving("local")
    question = await person.sees(gateway.submit("bash", server="local", command="make").id)
    assert question.facts == (
        ("sandbox", "none: it may do all that you may"),
        ("starts in", str(project)),
    )


async def test_what_other_programs_obey_is_asked_about(
    gateway: Gateway, local: LocalSpec, project: Path
) -> None:
    call = gateway.submit("write_file", server="local", path=".envrc", content="x")
    assert (await gateway.asked(call)).reason == "other programs obey .envrc"
    assert not (project / ".envrc").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "~/.ssh/id_rsa"])
async def test_c06_what_lies_outside_is_refused_and_nobody_is_asked(
    gateway: Gateway, local: LocalSpec, path: str
) -> None:
    for tool in ("read_file", "write_file"):
        call = gateway.submit(tool, server="local", path=path, content="x")
        call.approval = frames.Approved(digest="0" * 64, source="web")
        ended = await gateway.ended(call)
        assert ended.error is not None
        assert "lies outside the allowed folders" in ended.error["message"]
    assert not gateway.count(frames.Ask)


async def test_an_approval_holds_for_the_sandbox_it_was_given_for(
    gateway: Gateway, start: Start, project: Path, tmp_path: Path
) -> None:
    """What was approved to run with nothing around it says nothing of another machine's state."""
    spec = LocalSpec(allowed_paths=(project,), quarantine=tmp_path / "q", sandbox="none")
    first = start(servers=(), local=spec)
    await gateway.serving("local")
    call = gateway.submit("bash", server="local", command="touch made")
    await gateway.asked(call)
    await first.stop()
    start(servers=(), local=spec, policy=Policy(protected=Decision.DENY))
    await gateway.until(lambda: len(gateway.sessions) == 2)
    gateway.approve(call)
    await gateway.asked(call, times=2)
    assert not (project / "made").exists()
