"""Layer B: Landlock, a filter of system calls and bounds, where namespaces are forbidden (pure).

A command sees which files exist anywhere, may change times and modes of the person's own files, and
writes through names that a file in an allowed folder has elsewhere: Landlock does not govern that.
"""

from collections.abc import Sequence
from pathlib import Path

from opscenter_connector.confined.order import Bounds, Confinement, Order
from opscenter_connector.sandbox import shell

LEAST_ABI = 3  # before it, a file could be emptied that may not be written
WANTED_ABI = 6  # before it, a command may send signals to the person's other programs
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# These say how many processors there are, and no more of anybody than that.
MACHINE = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/filesystems",
)
# Where they are refused programs stop that go on where they are absent, as in layer A.
MORE_SETTINGS = (
    "/etc/fonts",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/perl",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
)
READ = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/sbin",
    *shell.SYSTEM,
    *shell.SETTINGS,
    *MORE_SETTINGS,
    *MACHINE,
)


def order(
    *,
    abi: int,
    program: bytes,
    command: str,
    cwd: Path,
    roots: Sequence[Path],
    also_read: Sequence[Path],
    also_write: Sequence[Path],
    home: Path,
    bounds: Bounds,
) -> Order:
    """Roots are given as open folders, in this order; `home` is for this command alone."""
    script = shell.script(command, blobs_before=0)
    return Order(
        argv=script.argv,
        env=shell.environment(str(home), str(home / "tmp")),
        cwd=str(cwd),
        bounds=bounds,
        watched=(*map(str, roots), str(home)),
        blobs=() if script.blob is None else (script.blob,),
        confinement=Confinement(
            abi=abi,
            read=(*READ, *map(str, also_read)),
            write=(str(home), *map(str, also_write)),
            devices=DEVICES,
            program=program,
        ),
        scratch=str(home),
        counts_others=True,
    )
