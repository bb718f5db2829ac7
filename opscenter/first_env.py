"""Write `.env` with secrets of this installation's own, once: `python -m opscenter.first_env`."""

import os
import secrets
import sys
import tempfile
from pathlib import Path

from opscenter import env

TEXT = """\
# Settings of this installation; docs/settings.md lists them all. Keep this file: without the pepper
# every API key stops working, without the secret key everybody is signed out, and without the
# encryption key no stored upstream credential can be read.
OPSCENTER_SECRET_KEY={secret_key}
OPSCENTER_KEY_PEPPER={pepper}
OPSCENTER_ENCRYPTION_KEYS={encryption_key}
"""


def write(path: Path, port: str = "") -> bool:
    """Make the file, for its owner's eyes only. False where it exists; it is then left alone.

    A `port` that the first start is told stays: doctor and the next start must know it too.
    """
    names = ("secret_key", "pepper", "encryption_key")
    text = TEXT.format(**{name: secrets.token_urlsafe(48) for name in names})
    if port:
        text += f"OPSCENTER_PORT={port}\n"
    # Written beside it and linked into place: whoever is killed in between leaves no half of it.
    handle, draft = tempfile.mkstemp(prefix=".env.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        Path(draft).unlink()
    return True


if __name__ == "__main__" and write(env.DOTENV, env.text("OPSCENTER_PORT")):
    sys.stdout.write(f"Wrote {env.DOTENV.name} with new secrets.\n")
