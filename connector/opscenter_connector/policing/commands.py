"""What can be said of a shell command by reading it, which is little (pure).

A command is allowed by its text only if it is one simple command whose words are those that a
person wrote down. How a command begins is otherwise a hint: it may make a decision stricter.
Nothing is ever taken for harmless because of its name: `find -exec`, `env -S`, `awk`, `sed e` and
`xargs` run whatever they are told to.

The gateway and the connector have the same text of this file, for neither installs the other.
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
_SEPARATORS = re.compile(
    r"[;&|()\n\r`]+|\$\(|\b(?:if|then|elif|else|while|until|do|coproc)\b|[{}!]"
)
# Run what their arguments say, or a script from elsewhere. What `make` or `npm` run is written in
# files, which a hint about commands cannot see. Without the number of a version: python3.11.
RUNNERS = frozenset(
    """
    . ash at awk bash batch builtin bun bunx busybox bwrap chroot chronic chrt cmd command coproc
    cpulimit crontab csh dash deno doas docker ed emacs entr env eval ex exec expect fakeroot find
    firejail fish flock gawk gdb ionice julia kubectl ksh ltrace lua m4 man mawk mksh nice node
    nohup npx nsenter osascript parallel perl php pipx pkexec podman powershell proxychains pwsh
    pypy python rlwrap rscript rsync ruby run-parts runuser screen script sed setarch setsid sh
    socat source sqlite ssh stdbuf strace su sudo systemd-run tar taskset tclsh tcsh time timeout
    tmux torsocks unbuffer unshare uv uvx valgrind vi vim watch xargs zsh
    """.split()  # noqa: SIM905 - as a list it is a hundred lines
)
_VERSION = re.compile(r"-?[0-9][0-9.]*\Z")
# Give git aliases and programs of their own, or have it write anywhere.
_GIT_OPTIONS = (
    *("-c", "--config-env", "--exec", "--ext", "--output", "--upload-pack", "--receive-pack"),
    *("-O", "--open-files-in-pager", "-x", "--tool"),
)
_GIT_RUNS = frozenset({"bisect", "difftool", "filter-branch", "foreach", "mergetool"})
_UNREADABLE = re.compile(r"[$`\\*?\[\]~<>{}'\"#]|[^\S \t\n\r]")


def words(command: str) -> list[str] | None:
    """Those of a simple command, exactly as the shell would split them; else None."""
    stripped = command.strip(" \t")
    if len(stripped) > MAX_READ or not _SIMPLE.match(stripped):
        return None
    found = shlex.split(stripped)
    return None if not found or _ASSIGNMENT.match(found[0]) else found


def text_of(command: object) -> tuple[str, bool]:
    """What may be meant, and whether it is a text at all: some tools take a list of words."""
    if isinstance(command, str):
        return command, True
    listed = command if isinstance(command, list | tuple) else ()
    return " ".join(word for word in listed if isinstance(word, str)), False


def is_one_of(command: str, allowed: Sequence[str]) -> bool:
    """Whether it is one of these, word for word."""
    said = words(command)
    return said is not None and any(said == words(one) for one in allowed)


def plainly_begins_with(command: str, beginnings: Sequence[str]) -> bool:
    """Whether it is one simple command with one of these beginnings, and runs no other.

    A program that runs others is let through only word for word.
    """
    said = words(command)
    if said is None:
        return False
    runs_others = _runs_others([_program(said[0]), *said[1:]])
    for beginning in beginnings:
        wanted = words(beginning)
        if wanted and (said == wanted or (not runs_others and said[: len(wanted)] == wanted)):
            return True
    return False


def begins_with(command: str, beginnings: Sequence[str]) -> str:
    """The first of `beginnings` with which some part of the command seems to begin.

    Or what a part may run besides: `env`, `find -exec` and the like.
    """
    for part in _SEPARATORS.split(command[:MAX_READ]):
        said = _roughly(part)
        starts = range(len(said)) if said and said[0] in RUNNERS else range(1)
        for beginning in beginnings:
            wanted = _roughly(beginning)
            if wanted and any(_is_meant(said[at:], wanted) for at in starts):
                return beginning
    return ""


def _is_meant(said: Sequence[str], wanted: Sequence[str]) -> bool:
    """Options before a subcommand, with their values, make it no other: `git -C . push`."""
    if not said or _program(said[0]) != wanted[0]:
        return False
    at = 1
    for word in wanted[1:]:
        while at < len(said) and said[at] != word and _is_option(said, at):
            at += 1
        if at >= len(said) or said[at] != word:
            return False
        at += 1
    return True


def _is_option(said: Sequence[str], at: int) -> bool:
    return said[at].startswith("-") or (at > 1 and said[at - 1].startswith("-"))


def _roughly(part: str) -> list[str]:
    """Words as they look, without assignments and folders of programs in front."""
    found = re.sub(r"[\"'\\]", "", part).split()
    while found and _ASSIGNMENT.match(found[0]):
        found = found[1:]
    return [_program(found[0]), *found[1:]] if found else []


def _program(word: str) -> str:
    """Without its folder; in small letters, as file systems may read it; runners by their names."""
    name = word.rsplit("/", 1)[-1].casefold()
    plain = _VERSION.sub("", name)
    return plain if plain in RUNNERS else name


def is_readable(command: str) -> bool:
    """Whether each part of it is what it looks like, and runs no others."""
    if len(command) > MAX_READ or _UNREADABLE.search(command):
        return False
    parts = [_roughly(part) for part in _SEPARATORS.split(command)]
    return not any(_runs_others(part) for part in parts if part)


def _runs_others(part: Sequence[str]) -> bool:
    if part[0] == "git":
        return any(word.startswith(_GIT_OPTIONS) or word in _GIT_RUNS for word in part[1:])
    return part[0] in RUNNERS
