"""Which folders lie on another machine, as Linux tells it."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Also of user space: what answers there is a program, which may be slow, be gone, or answer twice
# in different ways. fuseblk, a disk of Windows, is none of these.
_REMOTE = re.compile(
    r"(?:9p|afs|beegfs|ceph|cifs|coda|davfs|fuse(?:\..+)?|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs\d?"
    r"|ocfs2|orangefs|smb\d?|smbfs)\Z"
)
_OCTAL = re.compile(r"\\([0-7]{3})")  # as spaces and line ends are written there


def kind_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of a network file system that `path`, a real one, lies on; "" for a local one."""
    try:
        lines = mounts.read_bytes().decode(errors="surrogateescape").splitlines()
    except OSError:
        return ""  # no Linux
    found, kind = Path("/"), ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        at = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of mounts on one place the last counts.
        if (at == path or at in path.parents) and len(at.parts) >= len(found.parts):
            found, kind = at, after.split(" ")[0]
    return kind if _REMOTE.match(kind) else ""
