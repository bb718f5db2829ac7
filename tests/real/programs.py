"""Runs real peers as processes: bounded in time, in an environment that holds nothing of ours."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/bin:/usr/bin:/bin"
# The longest run here takes about 10 s; a retry storm takes 180 s and must fail. Whether a client
# asked once or again is counted, at no run by its time: on a busy machine one request takes long.
PROGRAM_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a process left behind."""

    code: int
    stdout: str
    stderr: str
    took_s: float


def run(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], within_s: float
) -> Finished:
    """Run to the end. Past `within_s` it is killed with all it started, and the test fails."""
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8"} | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the tools it runs can be ended with it
    )
    try:
        stdout, stderr = process.communicate(timeout=within_s)
    except BaseException as error:  # also Ctrl-C: nobody else would end a client that retries
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        said = f"stdout: {stdout}\nstderr: {stderr}"
        raise AssertionError(f"{command[0]} did not end within {within_s} s\n{said}") from None
    return Finished(
        code=process.returncode, stdout=stdout, stderr=stderr, took_s=time.monotonic() - started
    )
