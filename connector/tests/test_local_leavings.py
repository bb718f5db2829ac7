"""What commands leave in a folder: put away, told, and nobody else's."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from opscenter_connector.happenings import Quarantined
from opscenter_connector.local.builtin import TOOLS
from opscenter_connector.sandbox import Layer, Standing, noting, places, recover
from opscenter_connector.sandbox.guard import Guard
from opscenter_connector.settings import LocalSpec
from tests import allowed
from tests.allowed import WITHIN_S
from tests.serving import Serving, names, need_sandbox
from tests.watched import ignored

root = allowed.root


async def test_what_a_command_plants_is_moved_away_and_told(tmp_path: Path, root: Path) -> None:
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "state" / "quarantine")
    watched = Serving(spec)
    async with watched as server:
        need_sandbox(server)
        params = {"name": "bash", "arguments": {"command": "echo x > .envrc"}}
        result = await server.call(params, ignored, start_within_s=WITHIN_S)
    fields = result["structuredContent"]
    assert fields["quarantined"] == [str(root / ".envrc")]
    assert Path(fields["places"][0]).read_text() == "x\n"
    assert "moved away or put back" in result["content"][-1]["text"]
    assert fields["places"][0] in result["content"][-1]["text"]
    assert not (root / ".envrc").exists()
    assert [one for one in watched.told if isinstance(one, Quarantined)] == [
        Quarantined(path=str(root / ".envrc"), place=fields["places"][0])
    ]


async def test_what_a_command_plants_is_told_also_when_its_call_is_cancelled(
    tmp_path: Path, root: Path
) -> None:
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "state" / "quarantine")
    watched = Serving(spec)
    async with watched as server:
        need_sandbox(server)
        params = {"name": "bash", "arguments": {"command": "echo x > .envrc; sleep 60"}}
        with anyio.move_on_after(WITHIN_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: server.call(params, ignored, start_within_s=WITHIN_S))
                while not (root / ".envrc").exists():  # noqa: ASYNC110 - a file rings no bell
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
    (told,) = [one for one in watched.told if isinstance(one, Quarantined)]
    assert told.path == str(root / ".envrc")
    assert Path(told.place).read_text() == "x\n"


async def test_it_tells_the_first_of_many_and_counts_the_others(tmp_path: Path, root: Path) -> None:
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "state" / "quarantine")
    watched = Serving(spec)
    async with watched as server:
        need_sandbox(server)
        command = "for n in $(seq 25); do mkdir $n; echo x > $n/.envrc; done"
        params = {"name": "bash", "arguments": {"command": command}}
        await server.call(params, ignored, start_within_s=WITHIN_S)
    told = [one for one in watched.told if isinstance(one, Quarantined)]
    assert [one.more for one in told] == [0] * 9 + [15]


async def test_two_connectors_do_not_run_commands_in_one_folder(tmp_path: Path, root: Path) -> None:
    (root / "inner").mkdir()
    (tmp_path / "other").mkdir()
    spec = LocalSpec(allowed_paths=(root,), quarantine=tmp_path / "quarantine", sandbox="none")
    async with Serving(spec, alone=True) as first:
        assert "bash" in names(first)
        async with Serving(spec) as trial:  # doctor takes nothing from the one that works
            assert "bash" in names(trial)
        for folder in (root, root / "inner", root.parent):
            again = replace(spec, allowed_paths=(folder,))
            async with Serving(again, alone=True) as second:
                assert names(second) == {tool.name for tool in TOOLS}
                assert "another connector works in" in second.announced.error
        beside = replace(spec, allowed_paths=(tmp_path / "other",))
        async with Serving(beside, alone=True) as third:
            assert "bash" in names(third)
    both = replace(spec, allowed_paths=(root, root / "inner"))
    async with Serving(both, alone=True) as last:  # a folder in one's own is one's own
        assert "bash" in names(last)


def test_what_came_after_a_kill_is_the_persons_own(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what nobody noted, or noted of another folder, is left alone."""
    (root / ".husky").mkdir()
    of_root = places.root(root)
    standing = Standing(layer=Layer.NONE, quarantine=tmp_path / "away", roots=(of_root,))
    assert recover(standing) == []
    Guard(of_root).begin(pin=False, notes=standing.notes)  # and this process is killed
    (root / ".envrc").write_text("x")
    # As if the file had come long after the last command could have ended: minutes, otherwise.
    monkeypatch.setattr(noting, "LONGEST_NS", -10 * noting.SLACK_NS)
    assert recover(standing) == []
    monkeypatch.undo()
    assert (root / ".envrc").exists()
    Guard(of_root).begin(pin=False, notes=standing.notes)
    (root / ".npmrc").write_text("x")
    root.rename(tmp_path / "old")
    root.mkdir()
    (root / ".npmrc").write_text("y")
    other = Standing(layer=Layer.NONE, quarantine=tmp_path / "away", roots=(places.root(root),))
    assert recover(other) == []
    assert (root / ".npmrc").read_text() == "y"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"root": 3}', "[" * 100_000])
def test_notes_that_cannot_be_read_move_nothing(tmp_path: Path, root: Path, text: str) -> None:
    of_root = places.root(root)
    standing = Standing(layer=Layer.NONE, quarantine=tmp_path / "away", roots=(of_root,))
    Guard(of_root).begin(pin=False, notes=standing.notes)
    (root / ".envrc").write_text("x")
    for note in (tmp_path / "commands").iterdir():
        note.write_text(text)
    assert recover(standing) == []
    assert (root / ".envrc").exists()
