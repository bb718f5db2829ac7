"""The keys that an issuer publishes for its tokens (RFC 7517), asked for now and then."""

import asyncio
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import jwt

from accounts import trust
from accounts.reads import DatabaseAwayError

log = logging.getLogger(__name__)

# A new key opens, and a withdrawn one no longer does, within this and one fetch. However many
# tokens name keys that do not exist, nobody is asked more often.
EVERY_S = 30.0
FETCH_S = 5.0
# A request waits so long for news while the keys it knows are old: what a hanging issuer costs.
WAIT_S = 1.0
MOST_BYTES = 256 * 1024  # a hundred keys
ALGORITHM = "RS256"  # of all tokens; what a token says of itself chooses nothing

# Some proxies in front of issuers turn away the names that libraries give themselves.
HEADERS = {"user-agent": "Ops-Center", "accept": "application/json"}

_fetcher = ThreadPoolExecutor(2, thread_name_prefix="jwks")


class KeysAwayError(DatabaseAwayError):
    """The issuer does not answer and its keys are not known: nothing can be said of a token."""


class PublishedKeys:
    """One issuer's keys, as they were at most EVERY_S ago, or when it last answered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = -EVERY_S
        self._answered = False  # to the last question
        self._fetching: Future[None] | None = None
        self._lock = threading.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of this id; None where the issuer has none. Raises KeysAwayError."""
        await self.renew()
        if not self._keys:
            raise KeysAwayError("The gateway cannot reach Keycloak, which signs these tokens.")
        return self._keys.get(kid)

    async def renew(self) -> bool:
        """Look for news where it is time. Whether the issuer answered the last time."""
        fetching = self._begin()
        if fetching is not None:
            # Without any key there is nothing to go by, so that is worth a longer wait.
            most_s = WAIT_S if self._keys else FETCH_S + 1
            await asyncio.wait([asyncio.wrap_future(fetching)], timeout=most_s)
        return self._answered

    def _begin(self) -> Future[None] | None:
        with self._lock:
            if self._fetching is None and time.monotonic() - self._asked_at >= EVERY_S:
                self._asked_at = time.monotonic()
                self._fetching = _fetcher.submit(self._fetch)
            return self._fetching

    def _fetch(self) -> None:
        try:
            self._keys = _signing(_get(self._url))
            self._answered = True
        except Exception as error:  # whatever a stranger answers, the keys known stay
            if self._answered or not self._keys:
                log.warning("no keys from %s: %r", self._url, error)
            self._answered = False
        finally:
            with self._lock:
                self._fetching = None


def _get(url: str) -> bytes:
    body = b""
    until = time.monotonic() + FETCH_S
    trusted = trust.context()
    with httpx.stream("GET", url, headers=HEADERS, timeout=FETCH_S, verify=trusted) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MOST_BYTES or time.monotonic() > until:
                raise ValueError(f"more than {MOST_BYTES} bytes or {FETCH_S:.0f} s")
    return body


def _signing(body: bytes) -> dict[str, jwt.PyJWK]:
    """Those for signatures by our algorithm. Keycloak publishes one for encryption beside them."""
    found = jwt.PyJWKSet.from_json(body.decode()).keys
    return {
        key.key_id: key
        for key in found
        if key.key_id and key.public_key_use == "sig" and key.algorithm_name == ALGORITHM
    }
