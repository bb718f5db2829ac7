"""The courtesy in front of the boundary: plainly destructive commands are refused, with the reason.

It parses, so `npm run format` is not taken for a formatted disk. It holds nobody back who means
harm: whoever wants to hides a command from any reader. The sandbox is the boundary.
"""

import posixpath
import re
from collections.abc import Callable, Iterator

from opscenter_connector.sandbox import words
from opscenter_connector.sandbox.words import Invocation

# Beyond it there is data in a command. Some text takes the parser time by its square, and meanwhile
# everything else waits.
MAX_CHARACTERS = 10_000
MAX_DEPTH = 5  # of commands in commands

# Programs that start the program in their arguments.
WRAPPERS = frozenset(
    {"builtin", "busybox", "chronic", "command", "doas", "env", "exec", "ionice", "nice", "nohup"}
    | {"setsid", "stdbuf", "sudo", "time", "timeout", "unbuffer", "xargs"}
)
SHELLS = frozenset({"ash", "bash", "dash", "ksh", "sh", "zsh"})
SYSTEM = frozenset(
    {"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root"}
    | {"/sbin", "/srv", "/sys", "/usr", "/var", "/Users", "/System", "/Library", "/Applications"}
)
HOME = frozenset({"~", "$HOME"})
FORMATTERS = re.compile(
    r"mkfs(\..+)?|mke2fs|mkswap|mkdosfs|newfs(_.+)?|wipefs|blkdiscard|fdisk|sfdisk|sgdisk|gdisk"
    r"|cfdisk|parted|format\.com"
)
OFF = frozenset({"halt", "poweroff", "reboot", "shutdown"})
_DISK = re.compile(
    r"/dev/(sd|hd|vd|xvd|nvme|mmcblk|disk|rdisk|mapper/|dm-|md|loop|mem\b|kmem\b|port\b)"
)
_ASSIGNMENT = re.compile(r"\w+=")


def objection(command: str) -> str | None:
    """Why it is refused, or None."""
    return next(_reasons(command[:MAX_CHARACTERS], MAX_DEPTH), None)


def _reasons(command: str, depth: int) -> Iterator[str]:
    if not depth:
        return
    found = words.found(command)
    for name in found.bombs:
        yield f"{name} starts itself again and again until the machine stands still"
    for path in found.written:
        if _DISK.match(path):
            yield f"writing to {path} destroys what is on that disk"
    for one in found.invocations:
        yield from _of(one, depth)


def _of(one: Invocation, depth: int) -> Iterator[str]:
    one = _unwrapped(one)
    for inner in _inner(one):
        yield from _reasons(inner, depth - 1)
    name = posixpath.basename(one.name)
    if FORMATTERS.fullmatch(name) and not _only_looks(one):
        yield f"{name} destroys what is on a disk"
    if name in OFF:
        yield f"{name} turns the machine off"
    check = CHECKS.get(name)
    reason = check(one.arguments) if check else None
    if reason:
        yield reason


def _unwrapped(one: Invocation) -> Invocation:
    """The program that is started in the end."""
    rest = [one.name, *one.arguments]
    while rest and posixpath.basename(rest[0]) in WRAPPERS:
        rest = rest[1:]
        while rest and (rest[0].startswith("-") or _ASSIGNMENT.match(rest[0]) or _is_time(rest[0])):
            rest = rest[1:]
    return Invocation(name=rest[0], arguments=tuple(rest[1:])) if rest else one


def _is_time(word: str) -> bool:
    return bool(re.fullmatch(r"[\d.]+[smhd]?", word))


def _inner(one: Invocation) -> Iterator[str]:
    """Commands that stand in arguments."""
    name = posixpath.basename(one.name)
    if name == "eval":
        yield " ".join(one.arguments)
    if name in SHELLS:
        for flag, text in zip(one.arguments, one.arguments[1:], strict=False):
            if re.fullmatch(r"-[a-z]*c[a-z]*", flag):
                yield text


def _only_looks(one: Invocation) -> bool:
    return not one.arguments or bool({"-l", "--list", "--help", "--version"} & {*one.arguments})


def _rm(arguments: tuple[str, ...]) -> str | None:
    if "--no-preserve-root" in arguments:
        return "rm --no-preserve-root removes the whole machine"
    flags = "".join(a for a in arguments if re.fullmatch(r"-[a-zA-Z]+", a))
    if not ("r" in flags or "R" in flags or "--recursive" in arguments):
        return None
    for path in _paths(arguments):
        if _is_precious(path) or posixpath.normpath(path) in {".", "..", ".git"}:
            return f"rm -r {path} removes everything there"
    return None


def _change(what: str) -> Callable[[tuple[str, ...]], str | None]:
    def check(arguments: tuple[str, ...]) -> str | None:
        flags = "".join(a for a in arguments if re.fullmatch(r"-[a-zA-Z]+", a))
        if "R" not in flags and "--recursive" not in arguments:
            return None
        found = next((path for path in _paths(arguments) if _is_precious(path)), None)
        return f"{what} -R {found} changes everything there" if found else None

    return check


def _dd(arguments: tuple[str, ...]) -> str | None:
    found = next((a for a in arguments if a.startswith("of=") and _DISK.match(a[3:])), None)
    return f"dd {found} destroys what is on that disk" if found else None


def _find(arguments: tuple[str, ...]) -> str | None:
    deletes = "-delete" in arguments or bool({"rm", "shred", "/bin/rm"} & {*arguments})
    where = next((path for path in _paths(arguments) if _is_precious(path)), None)
    narrows = any(a in arguments for a in ("-name", "-iname", "-path", "-regex", "-newer"))
    return (
        f"find {where} removes everything it finds" if deletes and where and not narrows else None
    )


def _mv(arguments: tuple[str, ...]) -> str | None:
    paths = _paths(arguments)
    if not paths:
        return None
    if posixpath.normpath(paths[-1]) == "/dev/null":
        return "mv to /dev/null loses the file; to remove one use rm"
    found = next((path for path in paths[:-1] if _is_precious(path)), None)
    return f"mv {found} moves away what the machine or its user needs" if found else None


def _shred(arguments: tuple[str, ...]) -> str | None:
    found = next((path for path in _paths(arguments) if _DISK.match(path)), None)
    return f"shred {found} destroys what is on that disk" if found else None


def _kill(arguments: tuple[str, ...]) -> str | None:
    return (
        "kill -1 ends every program of the user"
        if arguments[1:] and arguments[-1] == "-1"
        else None
    )


def _crontab(arguments: tuple[str, ...]) -> str | None:
    return "crontab -r removes all of the user's timed jobs" if "-r" in arguments else None


def _cryptsetup(arguments: tuple[str, ...]) -> str | None:
    loses = {"luksFormat", "luksErase", "erase"} & {*arguments}
    return f"cryptsetup {loses.pop()} destroys what is on a disk" if loses else None


def _format(arguments: tuple[str, ...]) -> str | None:
    drive = next((a for a in arguments if re.fullmatch(r"[A-Za-z]:", a)), None)
    return f"format {drive} destroys what is on that disk" if drive else None


CHECKS: dict[str, Callable[[tuple[str, ...]], str | None]] = {
    "rm": _rm,
    "chmod": _change("chmod"),
    "chown": _change("chown"),
    "chgrp": _change("chgrp"),
    "dd": _dd,
    "find": _find,
    "mv": _mv,
    "shred": _shred,
    "kill": _kill,
    "crontab": _crontab,
    "cryptsetup": _cryptsetup,
    "format": _format,
}


def _paths(arguments: tuple[str, ...]) -> list[str]:
    return [a for a in arguments if a and not a.startswith("-")]


def _is_precious(path: str) -> bool:
    """The machine's folders or the user's home, or all that is in one of them."""
    bare = path.removesuffix("*") or path
    whole = posixpath.normpath(bare)
    whole = "/" + whole.lstrip("/") if whole.startswith("/") else whole
    return whole in SYSTEM or whole in HOME or (whole.startswith("~") and "/" not in whole)
