"""A home for one command, where it cannot have one in memory."""

import tempfile
from pathlib import Path

from opscenter_connector.sandbox import shell
from opscenter_connector.sandbox.layers import SandboxError


def home() -> Path:
    """An unguessable folder for this user alone. Whoever looks after the command removes it.

    Raises SandboxError.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="opscenter-")).resolve()
        (folder / "tmp").mkdir()
        (folder / ".gitconfig").write_bytes(shell.GIT_CONFIG)
    except OSError as error:
        raise SandboxError(
            f"there is no place for the command's temporary files: {error}; make some in "
            f"{tempfile.gettempdir()}, or say another by TMPDIR"
        ) from None
    return folder
