"""A sign-in that was kept: its file, and an access token from it whenever one is needed."""

import asyncio
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import httpx

from opscenter_connector import addresses
from opscenter_connector.credential import checked
from opscenter_connector.mistakes import AwayError, CredentialError
from opscenter_connector.plain import clean

LEFT_S = 60.0  # a token is good for this long at least when it is given out
FRESH_S = 30.0  # one that is refused so soon after it came is refused for good
ANSWER_S = 10.0
MAX_BODY_BYTES = 1024 * 1024
YEAR_S = 366 * 24 * 3600.0
OWNER_ONLY = 0o700
AGAIN = "sign in again: ops-connector login"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """What stands in the file."""

    api_url: str
    client_id: str
    token_url: str
    revocation_url: str
    refresh_token: str
    access_token: str
    expires_at: float  # seconds since 1970


class Tokens:
    """Access tokens of one sign-in, renewed one at a time however many programs want one."""

    def __init__(self, path: Path, api_url: str, ca_file: Path | None) -> None:
        self._path = path
        self._api_url = api_url
        self._ca_file = ca_file
        self._renewed_s = float("-inf")
        self._given = self._refused = ""
        self._is_over = False

    async def fresh(self) -> str:
        """As `current`, off the event loop."""
        return await asyncio.to_thread(self.current)

    def current(self) -> str:
        """A token that is good for a while. Raises CredentialError, AwayError."""
        try:
            self._given = self._current()
        except CredentialError:
            self._is_over = True
            raise
        return self._given

    def was_refused(self) -> bool:
        """Renew before the next use. False where the last one was new, or the sign-in is over."""
        self._refused = self._given
        return not self._is_over and time.monotonic() - self._renewed_s > FRESH_S

    def _current(self) -> str:
        with alone(self._path):
            found = read(self._path)
            if found.api_url != self._api_url:
                raise CredentialError(f"the sign-in is for {clean(found.api_url)}; {AGAIN}")
            is_good = time.time() + LEFT_S < found.expires_at
            if not is_good or found.access_token == self._refused:
                found = self._renew(found)
                write(self._path, found)
                self._renewed_s = time.monotonic()
        return found.access_token

    def _renew(self, found: SignedIn) -> SignedIn:
        """RFC 6749, section 6."""
        form = {
            "grant_type": "refresh_token",
            "client_id": found.client_id,
            "refresh_token": found.refresh_token,
        }
        try:
            with httpx.Client(verify=addresses.trust(self._ca_file), timeout=ANSWER_S) as client:
                reply = client.post(found.token_url, data=form)
            said = answer(reply)
        except (httpx.HTTPError, ValueError) as error:
            raise AwayError(f"Keycloak does not renew the sign-in: {clean(repr(error))}") from None
        if reply.status_code in {400, 401}:
            raise CredentialError(f"the sign-in has ended; {AGAIN}")
        try:
            return replace(
                found,
                access_token=token(said, "access_token"),
                refresh_token=token({"refresh_token": found.refresh_token} | said, "refresh_token"),
                expires_at=time.time() + lasts_s(said),
            )
        except CredentialError:
            text = f"Keycloak does not renew the sign-in: HTTP {reply.status_code}"
            raise AwayError(text) from None


def read(path: Path) -> SignedIn:
    """The sign-in in a file that is this user's alone. Raises CredentialError."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            said = json.loads(file.read())
        if mode & 0o077:
            raise CredentialError(f"{path} is open to other users: chmod 600 {path}")
        return SignedIn(**{field.name: said[field.name] for field in fields(SignedIn)})
    except FileNotFoundError:
        raise CredentialError(f"nobody is signed in here; {AGAIN}") from None
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise CredentialError(f"{path} holds no sign-in; {AGAIN}") from None


def write(path: Path, found: SignedIn) -> None:
    """Whole or not at all, for this user alone."""
    try:
        path.parent.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".login-")  # 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(found), file)
        os.replace(name, path)  # noqa: PTH105  (a rename over what is there)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from None


def answer(reply: httpx.Response) -> dict[str, Any]:
    """The JSON object in `reply`. Raises ValueError where there is none."""
    if len(reply.content) > MAX_BODY_BYTES:
        raise ValueError("the answer is too long")
    try:
        said = reply.json()
    except RecursionError as error:
        raise ValueError("the answer nests too deeply") from error
    if not isinstance(said, dict):
        raise ValueError("the answer is no object")
    return said


def token(said: Mapping[str, Any], name: str) -> str:
    """A token in an answer, fit for a header. Raises CredentialError where it is none."""
    found = said.get(name)
    return checked(found if isinstance(found, str) else "", f"Keycloak's {name}")


def lasts_s(said: Mapping[str, Any], name: str = "expires_in", default: float = 0.0) -> float:
    """A number of seconds in an answer. Raises CredentialError where it is none."""
    found = said.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < YEAR_S:
        raise CredentialError(f"Keycloak's {name} is no number of seconds")
    return float(found)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keycloak may take a refresh token once: two programs must not show the same."""
    try:
        path.parent.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise CredentialError(f"nobody is signed in here; {AGAIN}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
