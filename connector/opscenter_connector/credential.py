"""Where the API key comes from: a file that nobody else can read, the environment, or stdin."""

import os
import shlex
import stat
from pathlib import Path
from typing import TextIO

from opscenter_connector.mistakes import CredentialError

KEY_CHARS_MOST = 4096  # more is no key but the wrong file

NONE = """\
there is no API key. Give one by
  --api-key-file PATH      a file of mode 0600 that holds nothing else
  --api-key-stdin          the first line of standard input
  MCP_API_KEY              in the environment
  api_key_file = "PATH"    in connector.toml
or sign in, where the gateway has a Keycloak: ops-connector login
On the server, one is made by
  .venv/bin/python manage.py createapikey --user NAME --name laptop --scope mcp-callback"""


def from_file(path: Path) -> str:
    """The key in a file that is this user's alone."""
    try:
        with path.open("rb") as file:
            # Of the file that is open, not of the name: nobody can swap it in between.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(KEY_CHARS_MOST + 1)
    except OSError as error:
        raise CredentialError(f"the API key file {path}: {error.strerror}") from None
    if mode & 0o077:
        raise CredentialError(
            f"the API key file {path} is open to other users (mode {mode:04o}):\n"
            f"  chmod 600 {shlex.quote(str(path))}"
        )
    return checked(raw.decode("utf-8", "replace"), f"the API key file {path}")


def from_stream(stream: TextIO) -> str:
    """The key in the first line of `stream`."""
    return checked(stream.readline(KEY_CHARS_MOST + 1), "standard input")


def checked(raw: str, where: str) -> str:
    """`raw` without the space around it, if it can stand in a header; never shown in an error."""
    key = raw.strip()
    if not key:
        raise CredentialError(f"{where} holds no API key: it is empty")
    if len(key) > KEY_CHARS_MOST or not key.isascii() or not key.isprintable() or " " in key:
        raise CredentialError(f"{where} holds no API key: one is a single word of plain letters")
    return key
