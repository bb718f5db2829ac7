"""What can be said of a shell command by reading it, which is little.

A command is allowed by its text only if it is one simple command and equal, word for word, to one
that a person wrote down. How a command begins is a hint: it may make a decision stricter. Nothing
is ever taken for harmless because of its name: `find -exec`, `env -S`, `awk`, `sed e` and `xargs`
run whatever they are told to.
"""

import re
import shlex
from collections.abc import Sequence

MAX_READ = 16 * 1024  # characters; a longer one is a script, and nothing is said of it
# Words without anything that a shell reads: no expansion, glob, comment, escape, operator.
# One sign at a time: a repetition within the repetition would take for ever to say no.
_WORD = r"(?:[A-Za-z0-9_./:@%+,=-]|'[^'\0\r\n]*'|\"[^\"$`\\!\0\r\n]*\")+"
_SIMPLE = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})*\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_SEPARATORS = re.compile(r"[;&|()\n]+|\b(?:then|else|do)\b|\{|!")
# Run what their arguments say, or a script from elsewhere. What `make` or `npm` run is written in
# files, which a hint about commands cannot see.
RUNNERS = frozenset(
    """
    . awk bash builtin busybox chroot command coproc dash doas env ed eval ex exec expect find
    fish flock gawk gdb ionice julia ksh lua mawk node nice nohup nsenter parallel perl php
    python python2 python3 rsync ruby runuser script sed setarch setsid sh socat source ssh
    stdbuf strace su sudo systemd-run tar tclsh time timeout unshare vi vim watch xargs zsh
    """.split()  # noqa: SIM905 - as a list it is sixty lines
)
_GIT_OPTIONS = ("-c", "--config-env", "--exec-path")  # give git aliases and programs of their own
_UNREADABLE = re.compile(r"[$`\\*?\[\]~<>{}'\"#]")


def words(command: str) -> list[str] | None:
    """Those of a simple command, exactly as the shell would split them; else None."""
    stripped = command.strip(" \t")
    if len(stripped) > MAX_READ or not _SIMPLE.match(stripped):
        return None
    found = shlex.split(stripped)
    return None if not found or _ASSIGNMENT.match(found[0]) else found


def is_one_of(command: str, allowed: Sequence[str]) -> bool:
    """Whether it is one of these, word for word."""
    said = words(command)
    return said is not None and any(said == words(one) for one in allowed)


def begins_with(command: str, beginnings: Sequence[str]) -> str:
    """The first of `beginnings` with which some part of the command seems to begin."""
    for part in _SEPARATORS.split(command[:MAX_READ]):
        said = _roughly(part)
        for beginning in beginnings:
            wanted = beginning.split()
            if wanted and said[: len(wanted)] == wanted:
                return beginning
    return ""


def _roughly(part: str) -> list[str]:
    """Words as they look, without assignments and folders of programs in front."""
    found = part.replace('"', "").replace("'", "").replace("\\", "").split()
    while found and _ASSIGNMENT.match(found[0]):
        found = found[1:]
    return [found[0].rsplit("/", 1)[-1], *found[1:]] if found else []


def is_readable(command: str) -> bool:
    """Whether each part of it is what it looks like, and runs no others."""
    if len(command) > MAX_READ or _UNREADABLE.search(command):
        return False
    parts = [_roughly(part) for part in _SEPARATORS.split(command)]
    return not any(_runs_others(part) for part in parts if part)


def _runs_others(part: list[str]) -> bool:
    if part[0] == "git":
        return any(word.startswith(_GIT_OPTIONS) for word in part)
    return part[0] in RUNNERS
