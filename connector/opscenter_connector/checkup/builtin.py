"""The built-in tools: each allowed folder, and what holds the commands that run in them."""

import os
import shlex
from pathlib import Path

from opscenter_connector import builtinserver
from opscenter_connector.checkup import boundary
from opscenter_connector.checkup.steps import FAILED, OK, WARNING, Check, Finding, Patient, Step
from opscenter_connector.config import Config
from opscenter_connector.local import beneath
from opscenter_connector.local.roots import Roots
from opscenter_connector.settings import LocalSpec

SURVEY_S = 60.0  # a self-test takes a second, on a machine that is busy more


def steps(config: Config) -> tuple[Step, ...]:
    """One for each folder, and one for the sandbox."""
    local = config.settings.local
    if local is None:
        return ()
    folders = [
        Step(name=f"folder {path.name}", check=_opens(path, local)) for path in local.allowed_paths
    ]
    if local.read_only:
        return tuple(folders)
    return (*folders, Step(name="sandbox", check=_holds(local), within_s=SURVEY_S))


def _opens(path: Path, local: LocalSpec) -> Check:
    async def check(_: Patient) -> Finding:
        """Whether the tools can work in it."""
        try:
            roots = Roots.opened([path])
        except OSError as error:
            return Finding(
                state=FAILED,
                seen=f"{path} cannot be opened: {error.strerror}",
                why="the built-in tools are not offered until all their folders are there",
                fix=(f"ls -ld {shlex.quote(str(path))}",),
            )
        try:
            return _looked_at(roots, path, local)
        finally:
            roots.close()

    return check


def _looked_at(roots: Roots, path: Path, local: LocalSpec) -> Finding:
    real = roots.paths[0]
    seen = str(path) if real == path else f"{path}, which is {real}"
    if not local.read_only and not os.access(real, os.W_OK):
        return Finding(
            state=WARNING,
            seen=f"{seen}: you may not write in it",
            why="tools that write will be refused there",
            fix=(f"ls -ld {shlex.quote(str(real))}", "or read_only = true in [local]"),
        )
    if not beneath.has_openat2():
        return Finding(
            state=OK,
            seen=f"{seen}; opened step by step, without openat2: links in it are not followed",
        )
    return Finding(state=OK, seen=seen)


def _holds(local: LocalSpec) -> Check:
    async def check(_: Patient) -> Finding:
        """What holds commands here, tried for real."""
        try:
            roots = Roots.opened(local.allowed_paths)
        except OSError as error:
            return Finding(state=FAILED, seen=f"{error.filename} cannot be opened")
        try:
            standing, problem = await builtinserver.surveyed(local, roots)
        finally:
            roots.close()
        if standing is None:
            return Finding(
                state=FAILED,
                seen=problem,
                why="agents get the file tools and no shell",
                fix=("sandbox and sandbox_at_least in [local] say what is demanded",),
            )
        return boundary.found(standing, demanded=local.sandbox)

    return check
