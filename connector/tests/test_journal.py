"""The journal: whatever is cut off, nothing that was begun is taken for new."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from opscenter_connector import instance, journal
from opscenter_connector.journal import End, Entry, Journal, JournalError

DONE = End(outcome="done", body={"content": [{"type": "text", "text": "bread for Zoë"}]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Journal]:
    one = Journal(path)
    yield one
    await one.aclose()


async def read(path: Path) -> list[Entry]:
    again = Journal(path)
    await again.aclose()
    return again.entries


async def test_it_remembers_what_was_begun(opened: Journal, path: Path) -> None:
    await opened.write(journal.begun("a", 1))
    assert await read(path) == [Entry(id="a", fence=1)]


async def test_it_remembers_a_result_until_it_is_acknowledged(opened: Journal, path: Path) -> None:
    await opened.write(journal.begun("a", 1))
    await opened.write(journal.ended("a", 1, DONE))
    assert await read(path) == [Entry(id="a", fence=1, end=DONE)]


async def test_it_remembers_that_a_call_ran_after_it_is_over(opened: Journal, path: Path) -> None:
    await opened.write(journal.begun("a", 1))
    await opened.write(journal.ended("a", 1, DONE))
    await opened.write(journal.over("a", 1, ran=True))
    known = [Entry(id="a", fence=1, over=True)]
    assert await read(path) == known
    assert await read(path) == known  # also after it was written anew


async def test_it_forgets_a_call_that_was_not_let_begin(opened: Journal, path: Path) -> None:
    await opened.write(journal.begun("a", 1))
    await opened.write(journal.over("a", 1, ran=False))
    assert await read(path) == []


async def test_it_never_takes_a_begun_call_for_new_wherever_it_is_cut(path: Path) -> None:
    records = [
        journal.begun("a", 1),
        journal.ended("a", 1, DONE),
        journal.over("a", 1, ran=True),
        journal.begun("b", 1),
        journal.begun("b", 2),
        journal.ended("b", 2, End(outcome="cancelled")),
    ]
    opened = Journal(path)
    for record in records:
        await opened.write(record)
    await opened.aclose()
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        synced = sum(end <= cut + 1 for end in ends)  # a line that lacks only its end is whole
        known = {entry.id: entry for entry in await read(path)}
        assert ("a" in known) == (synced >= 1)
        assert ("b" in known) == (synced >= 4)
        if 2 <= synced < 3:
            assert known["a"].end == DONE
        if 4 <= synced < 6:
            assert known["b"].end is None


async def test_it_skips_a_line_that_cannot_be_read(path: Path) -> None:
    path.write_bytes(
        b'{"k":"s","id":"a","fence":1,"effects":true}\n\x00\x00\n{"k":"d","id":"a"}\n[]\n'
    )
    assert await read(path) == [Entry(id="a", fence=1)]


async def test_lines_that_wait_share_one_sync(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = []
    sync = os.fsync

    def counted(handle: int) -> None:
        syncs.append(handle)
        sync(handle)

    monkeypatch.setattr(os, "fsync", counted)
    await asyncio.gather(*(opened.write(journal.begun(f"c{n}", 1)) for n in range(50)))
    assert len(syncs) <= 2
    assert len(opened.entries) == 50


async def test_it_is_compacted_when_it_has_grown(path: Path) -> None:
    opened = Journal(path, compact_bytes=10_000)
    for n in range(200):
        await opened.write(journal.begun(f"c{n}", 1))
        await opened.write(journal.ended(f"c{n}", 1, DONE))
        opened.note(journal.over(f"c{n}", 1, ran=False))
    await opened.write(journal.begun("last", 1))
    await opened.aclose()
    assert path.stat().st_size < 11_000
    assert await read(path) == [Entry(id="last", fence=1)]


async def test_a_full_disk_fails_the_line_and_leaves_the_file_whole(
    opened: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened.write(journal.begun("a", 1))
    before = path.read_bytes()
    write = os.write
    room = [10]

    def almost_full(handle: int, data: memoryview) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: room.pop()])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", almost_full)
        with pytest.raises(JournalError, match="No space left"):
            await opened.write(journal.begun("b", 1))
    assert path.read_bytes() == before
    await opened.write(journal.begun("c", 1))
    assert [entry.id for entry in await read(path)] == ["a", "c"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with instance.locked(state):
        first = instance.instance(state)
        assert instance.instance(state) == first
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}


def test_a_second_connector_is_refused(tmp_path: Path) -> None:
    with instance.locked(tmp_path):
        second = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from pathlib import Path; from opscenter_connector import instance\n"
                "with instance.locked(Path(sys.argv[1])): pass",
                str(tmp_path),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert "another connector uses" in second.stderr
    with instance.locked(tmp_path):
        pass


def test_an_instance_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("me")
    with pytest.raises(instance.StateDirError, match="does not hold a UUID"):
        instance.instance(tmp_path)
