"""An ordinary user of this machine, in a process of their own, who runs commands in the sandbox.

`python -m tests.sandbox.person` reads questions as lines of JSON and answers in kind.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from opscenter_connector.sandbox import (
    Layer,
    Limits,
    Outcome,
    SandboxError,
    Standing,
    machine,
    places,
    recover,
    run,
    survey,
)
from opscenter_connector.sandbox.layers import Root
from tests.sandbox import starter
from tests.sandbox.attacks import CANARY

CONNECTOR = Path(__file__).parents[2]
ANSWER_S = 60


class NobodyError(Exception):
    """There is no Python here that an ordinary user may start."""


class Person:
    """Asks the process of that user."""

    def __init__(self, uid: int, process: "subprocess.Popen[str]") -> None:
        self.uid = uid
        self.process = process

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(question, default=str) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the person's process has ended"
        answer: dict[str, Any] = json.loads(line)
        assert "defect" not in answer, answer["defect"]
        return answer

    def run(self, layer: str, root: Path | list[Path], command: str, **more: Any) -> dict[str, Any]:
        """An outcome, or what kept it from being run under `refused`."""
        roots = root if isinstance(root, list) else [root]
        return self.ask(
            op="run",
            layer=layer,
            roots=roots,
            command=command,
            cwd=more.pop("cwd", roots[0]),
            **more,
        )


@contextmanager
def ordinary(uid: int) -> Iterator[Person]:
    """With secrets in their environment, as people have them."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    switch: dict[str, Any] = {}
    if os.geteuid() == 0:
        switch = {"user": uid, "group": uid, "extra_groups": []}
    with starter.left_open() as left_open:
        process = _started(switch, site, left_open)
        try:
            yield Person(uid if os.geteuid() == 0 else os.geteuid(), process)
        finally:
            process.kill()
            process.communicate()


def _started(switch: dict[str, Any], site: str, left_open: list[int]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [_interpreter(), "-B", "-m", "tests.sandbox.person"],
        cwd="/",
        pass_fds=left_open,
        env={
            "PYTHONPATH": f"{CONNECTOR}:{site}",
            "PATH": "/usr/bin:/bin",
            "SECRET_TOKEN": CANARY,
            "LANG": "C.UTF-8",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **switch,
    )


def _interpreter() -> str:
    """One that other users may start: root's own often lies in root's home."""
    if os.geteuid() != 0:
        return sys.executable
    own = Path(sys.executable).resolve()
    if all(folder.stat().st_mode & 0o001 for folder in own.parents):
        return sys.executable
    major, minor = sys.version_info[:2]
    common = Path(f"/usr/bin/python{major}.{minor}")
    if not common.exists():
        raise NobodyError(f"no ordinary user can start {own}, and there is no {common}")
    return str(common)


def answered(question: dict[str, Any]) -> dict[str, Any]:
    """What the person found."""
    op = question.pop("op")
    try:
        return OPS[op](question)
    except SandboxError as error:
        return {"refused": str(error)}


def _run(given: dict[str, Any]) -> dict[str, Any]:
    quarantine = given.get("quarantine")
    roots = [Path(one) for one in given["roots"]]
    standing = Standing(
        layer=Layer(given["layer"]),
        quarantine=Path(quarantine) if quarantine else None,
        roots=_known if given.get("known") else (),
    )
    limits = Limits(**given.get("limits", {}))
    work = run(
        standing,
        roots,
        given["command"],
        cwd=Path(given["cwd"]),
        within_s=given.get("within_s", 20.0),
        limits=limits,
    )
    found = asdict(asyncio.run(work))
    return found | {"rss_kib": _peak_kib()}


_known: tuple[Root, ...] = ()  # of the last survey


def _survey(given: dict[str, Any]) -> dict[str, Any]:
    global _known
    if given.get("path"):
        machine.PATH = given["path"]  # where programs of this machine are looked for
        machine.seen.cache_clear()
    forced = given.get("forced")
    at_least = given.get("at_least")
    found = asyncio.run(
        survey(
            [Path(one) for one in given["roots"]],
            forced=Layer(forced) if forced else None,
            at_least=Layer(at_least) if at_least else None,
        )
    )
    _known = found.roots
    return {"layer": found.layer, "why": found.why, "canaries": [asdict(c) for c in found.canaries]}


def _many(given: dict[str, Any]) -> dict[str, Any]:
    """Several commands at once."""
    root = Path(given["root"])
    standing = Standing(layer=Layer(given["layer"]))

    async def all_() -> list[Outcome]:
        works = [run(standing, [root], one, cwd=root, within_s=20) for one in given["commands"]]
        return list(await asyncio.gather(*works))

    return {"outcomes": [asdict(one) for one in asyncio.run(all_())]}


def _pair(given: dict[str, Any]) -> dict[str, Any]:
    """A command, and another one that begins as soon as the first has made the file `moved`."""
    root = Path(given["root"])
    standing = Standing(layer=Layer(given["layer"]))
    first, second = given["commands"]

    async def both() -> None:
        running = asyncio.create_task(run(standing, [root], first, cwd=root, within_s=20))
        while not (root / "moved").exists():
            assert not running.done()
            await asyncio.sleep(0.01)
        await run(standing, [root], second, cwd=root, within_s=20)
        await running

    asyncio.run(both())
    return {}


def _cancel(given: dict[str, Any]) -> dict[str, Any]:
    """One that is given up as soon as it has made the file `begun`, or at once."""
    root = Path(given["root"])
    standing = Standing(layer=Layer(given["layer"]))

    async def work() -> float:
        async with anyio.create_task_group() as tasks:
            one = partial(run, standing, [root], given["command"], cwd=root, within_s=60)
            tasks.start_soon(one)
            while given["begun"] and not (root / "begun").exists():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
            await asyncio.sleep(given.get("after_s", 0))
            began_s = time.perf_counter()
            tasks.cancel_scope.cancel()
        return time.perf_counter() - began_s

    before = len(os.listdir("/proc/self/fd"))
    took_s = asyncio.run(work())
    return {"took_s": took_s, "files": len(os.listdir("/proc/self/fd")) - before}


def _time(given: dict[str, Any]) -> dict[str, Any]:
    """How long so many commands that do nothing take, one after the other."""
    root = Path(given["root"])
    standing = Standing(layer=Layer(given["layer"]))

    async def all_() -> list[float]:
        took_s = []
        for _ in range(given["count"]):
            began_s = time.perf_counter()
            await run(standing, [root], given["command"], cwd=root, within_s=30)
            took_s.append(time.perf_counter() - began_s)
        return took_s

    return {"took_ms": [took * 1000 for took in asyncio.run(all_())]}


def _recover(given: dict[str, Any]) -> dict[str, Any]:
    """What the connector does at its start."""
    root = places.root(Path(given["root"]))
    standing = Standing(layer=Layer.NONE, quarantine=Path(given["quarantine"]), roots=(root,))
    return {"swept": [asdict(one) for one in recover(standing)]}


def _bare(given: dict[str, Any]) -> dict[str, Any]:
    """Without any sandbox: what others do."""
    home = str(Path(given["cwd"]).parent / "home")
    try:
        done = subprocess.run(
            ["bash", "-c", given["command"]],
            cwd=given["cwd"],
            env=os.environ | {"HOME": home},  # noqa: TID251 - all of it, secrets too
            capture_output=True,
            stdin=subprocess.DEVNULL,
            close_fds=False,
            timeout=given["within_s"],
        )
    except subprocess.TimeoutExpired as error:
        return {"stdout": (error.stdout or b"").decode("latin-1"), "stderr": ""}
    return {"stdout": done.stdout.decode("latin-1"), "stderr": done.stderr.decode("latin-1")}


def _peak_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


OPS = {
    "run": _run,
    "survey": _survey,
    "bare": _bare,
    "many": _many,
    "pair": _pair,
    "cancel": _cancel,
    "time": _time,
    "recover": _recover,
}


def main() -> None:
    for line in sys.stdin:
        try:
            answer = answered(json.loads(line))
        except Exception as error:
            answer = {"defect": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
