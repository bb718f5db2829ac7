"""macOS: a Seatbelt profile, made from nothing allowed. Written with care, not proven (pure).

Nobody has run the table of attacks on macOS. `survey` runs its self-test there as everywhere, and
what it says counts; what the self-test does not try is not known.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

PROGRAM = "/usr/bin/sandbox-exec"
READ = (
    "/usr",
    "/bin",
    "/dev/fd",
    "/sbin",
    "/System",
    "/Library/Developer",
    "/Library/Frameworks",
    "/opt/homebrew",
    "/opt/local",
    "/private/etc/ssl",
    "/private/etc/localtime",
    "/private/var/db/timezone",
    "/private/var/select",
    "/Applications/Xcode.app",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")


def profile(roots: Sequence[Path], home: Path, read_only: Iterable[str]) -> str:
    """What a command may do. `read_only` are protected paths, absolute."""
    writable = [*map(str, roots), str(home)]
    protected = sorted(set(read_only))
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        "(allow signal (target same-sandbox))",
        "(allow sysctl-read)",
        "(allow file-read-metadata)",
        f"(allow process-exec {_subpaths([*READ, *writable])})",
        f"(allow file-read* {_subpaths([*READ, *writable])} {_literals(['/', *DEVICES])})",
        f"(allow file-write-data {_literals(DEVICES)})",
        f"(allow file-write* {_subpaths(writable)})",
        # No setuid, and no attribute that makes the system trust what was written.
        "(deny file-write-setugid)",
        "(deny network*)",
        "(deny mach-lookup)",
    ]
    if protected:
        # A rename of what they lie in would move the rule's path away from the file.
        above = sorted({str(a) for path in protected for a in _above(path, writable)})
        lines.append(f"(deny file-write* {_subpaths(protected)})")
        lines.append(f"(deny file-write-unlink {_literals([*protected, *above])})")
    return "\n".join(lines)


def argv(said: str) -> tuple[str, ...]:
    return (PROGRAM, "-p", said)


def _above(path: str, writable: Sequence[str]) -> list[PurePosixPath]:
    return [
        one
        for one in PurePosixPath(path).parents
        if any(str(one) == root or str(one).startswith(f"{root}/") for root in writable)
    ]


def _subpaths(paths: Iterable[str]) -> str:
    return " ".join(f"(subpath {_quoted(path)})" for path in paths)


def _literals(paths: Iterable[str]) -> str:
    return " ".join(f"(literal {_quoted(path)})" for path in paths)


def _quoted(path: str) -> str:
    """As Scheme writes a string; a path may hold quotes and backslashes."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
