"""Write `.env` with secrets of this installation's own, once: `python -m opscenter.first_env`."""

import os
import secrets
import sys
from pathlib import Path

from opscenter.env import DOTENV

TEXT = """\
# Settings of this installation; docs/settings.md lists them all. Keep this file: without the pepper
# every API key stops working, without the secret key everybody is signed out.
OPSCENTER_SECRET_KEY={secret_key}
OPSCENTER_KEY_PEPPER={pepper}
"""


def write(path: Path) -> bool:
    """Make the file, for its owner's eyes only. False where it exists; it is then left alone."""
    text = TEXT.format(secret_key=secrets.token_urlsafe(48), pepper=secrets.token_urlsafe(48))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return True


if __name__ == "__main__" and write(DOTENV):
    sys.stdout.write(f"Wrote {DOTENV.name} with new secrets.\n")
