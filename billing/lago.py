"""Lago's API on the wire. Nobody else here knows its addresses, headers or forms."""

import base64
import binascii
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from django.conf import settings

from accounts import trust

CONNECT_S = 5.0  # a server that is there says so at once
READ_S = 20.0  # of silence; a hundred events take a loaded Lago a few seconds
TOTAL_S = 25.0  # of one call, so that a lease of 60 s holds two of them
MAX_BYTES = 4 * 1024 * 1024  # a page of a hundred events is a tenth of it
MOST_EVENTS = 100  # in one batch: Lago's own bound
PER_PAGE = 100
MOST_PAGES = 100_000  # a list that never ends is no list
MOST_WAIT_S = 300.0  # whatever a 429 asks for
SAID_CHARS = 300  # of an answer, in an error
DELIVERED = "value_already_exist"  # of a transaction_id: it is there already

Json = dict[str, Any]


class LagoError(Exception):
    """Lago did not do it. The text never holds the key."""


class RetryLaterError(LagoError):
    """It may work later. `by_content`: it may also be what was sent that fails each time."""

    def __init__(self, text: str, *, after_s: float | None = None, by_content: bool = False):
        super().__init__(text)
        self.after_s = after_s
        self.by_content = by_content


class RefusedError(LagoError):
    """It will not be taken as it is, now or later."""


class RefusedByIndexError(LagoError):
    """A batch was refused because of some of its events: index to field to reasons."""

    def __init__(self, text: str, details: Mapping[int, Mapping[str, Sequence[str]]]) -> None:
        super().__init__(text)
        self.details = details

    @property
    def delivered(self) -> list[int]:
        """The indexes of those that Lago has already."""
        return [i for i, why in self.details.items() if DELIVERED in why.get("transaction_id", ())]


class BadCredentialError(LagoError):
    """The key is not taken. An operator has to look."""


class NotThereError(LagoError):
    """There is no such thing at Lago."""


class NonsenseError(LagoError):
    """What answers is not Lago, or not as its contract says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An event as Lago has it."""

    lago_id: str
    transaction_id: str
    subscription: str
    code: str
    at: datetime
    properties: Mapping[str, Any]


def is_configured() -> bool:
    """Whether usage goes to Lago at all."""
    return bool(settings.LAGO_API_URL and settings.LAGO_API_KEY)


class Client:
    """One connection to Lago, to be used by one thread and closed."""

    def __init__(self, *, patience_s: float = TOTAL_S) -> None:
        self._key = settings.LAGO_API_KEY
        self._patience_s = patience_s  # with one call
        if not (self._key.isascii() and self._key.isprintable() and self._key):
            # An HTTP client's complaint about such a header would show it.
            raise BadCredentialError("LAGO_API_KEY is no key: it has odd characters, or none.")
        self._http = httpx.Client(
            base_url=f"{settings.LAGO_API_URL}/api/v1/",
            headers={
                "authorization": f"Bearer {self._key}",
                "user-agent": "ops-center",
                "accept-encoding": "identity",  # so that MAX_BYTES bounds what is in memory
            },
            timeout=httpx.Timeout(min(READ_S, patience_s), connect=min(CONNECT_S, patience_s)),
            follow_redirects=False,
            verify=trust.context(),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._http.close()

    def send(self, events: Sequence[Json]) -> set[str]:
        """Deliver at most MOST_EVENTS events; the transaction ids that Lago acknowledged.

        Raises RefusedByIndexError and the others above.
        """
        answer = self._ask("POST", "events/batch", body={"events": list(events)})
        return {str(_object(event).get("transaction_id")) for event in _list(answer, "events")}

    def stored(
        self, subscription: str, code: str, since: datetime, until: datetime
    ) -> Iterator[Stored]:
        """The events of a subscription in a range of time."""
        asked = {
            "external_subscription_id": subscription,
            "code": code,
            "timestamp_from": since.isoformat(),
            "timestamp_to": until.isoformat(),
        }
        for page in range(1, MOST_PAGES):
            answer = self._ask("GET", "events", query={**asked, "page": page, "per_page": PER_PAGE})
            yield from map(_stored, _list(answer, "events"))
            if not _object(answer.get("meta")).get("next_page"):
                return

    def one(self, transaction_id: str) -> Stored | None:
        """The event of that id, whichever subscription it lies under."""
        found = self.find(f"events/{quote(transaction_id, safe='')}", "event")
        return _stored(found) if found is not None else None

    def find(self, path: str, name: str, **query: str) -> Json | None:
        """The object below `name` at a path; None: there is no such thing."""
        try:
            return _object(self._ask("GET", path, query=query).get(name))
        except NotThereError:
            return None

    def put(self, method: str, path: str, name: str, value: Json) -> Json:
        """Create or update an object; what Lago made of it."""
        return _object(self._ask(method, path, body={name: value}).get(name))

    def public_key(self) -> bytes:
        """The key that webhooks are signed with, as PEM."""
        _, text = self._exchange("GET", "webhooks/public_key", {}, None)
        try:
            # Ruby's base64 has line ends in it.
            return base64.b64decode(b"".join(text.strip(b' \r\n"').split()), validate=True)
        except binascii.Error as error:
            raise NonsenseError("Lago's public key is no base64.") from error

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> Json:
        status, text = self._exchange(method, path, query or {}, body)
        try:
            return _object(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise NonsenseError(f"Lago answered {status} without JSON.") from error

    def _exchange(
        self, method: str, path: str, query: Mapping[str, Any], body: Any
    ) -> tuple[int, bytes]:
        """One call within its bounds: the status and the body of a good answer."""
        until = time.monotonic() + self._patience_s
        text = bytearray()
        try:
            with self._http.stream(method, path, params=query, json=body) as response:
                for chunk in response.iter_bytes():
                    text += chunk
                    if len(text) > MAX_BYTES:
                        raise NonsenseError(f"Lago's answer is longer than {MAX_BYTES} bytes.")
                    if time.monotonic() > until:
                        raise RetryLaterError("Lago's answer took too long.")
        except httpx.HTTPError as error:
            raise RetryLaterError(f"Lago is away: {self._said(str(error) or repr(error))}") from (
                error
            )
        if not response.is_success:
            raise self._refusal(response, bytes(text))
        return response.status_code, bytes(text)

    def _refusal(self, response: httpx.Response, text: bytes) -> LagoError:
        status = response.status_code
        said = f"Lago answered {status}: {self._said(text.decode(errors='replace'))}"
        if status == 429:
            return RetryLaterError(said, after_s=_wait(response.headers))
        if status in {502, 503, 504, 408}:  # what is in front of it answers: it is away
            return RetryLaterError(said, after_s=_wait(response.headers))
        if status >= 500:
            return RetryLaterError(said, by_content=True)
        if status in {401, 403}:
            return BadCredentialError(said)
        if status == 404:
            return NotThereError(said)
        if status == 422 and (details := _by_index(text)):
            return RefusedByIndexError(said, details)
        return RefusedError(said) if status >= 400 else NonsenseError(said)

    def _said(self, text: str) -> str:
        """A stranger's words for a log: in one line, short, and without the key."""
        plain = "".join(c if c.isprintable() else " " for c in text.replace(self._key, "[key]"))
        return plain[:SAID_CHARS].strip()


def _wait(headers: httpx.Headers) -> float | None:
    """The seconds that an answer asks to wait; None: it says nothing of use."""
    for name in ("retry-after", "x-ratelimit-reset"):
        try:
            value = float(headers.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(value):
            return min(max(value, 0.0), MOST_WAIT_S)
    return None


def _by_index(text: bytes) -> dict[int, Mapping[str, Sequence[str]]]:
    """What is wrong with which event; empty where the answer does not say it so."""
    try:
        details = _object(_object(json.loads(text)).get("error_details"))
    except (ValueError, RecursionError, NonsenseError):
        return {}
    found: dict[int, Mapping[str, Sequence[str]]] = {}
    for index, why in details.items():
        if not (index.isascii() and index.isdecimal() and len(index) < 4):
            return {}
        fields = why if isinstance(why, dict) else {"event": why}
        found[int(index)] = {str(name): _texts(value) for name, value in fields.items()}
    return found


def _texts(value: object) -> list[str]:
    return [str(entry) for entry in (value if isinstance(value, list) else [value])]


def _stored(event: object) -> Stored:
    found = _object(event)
    try:
        at = datetime.fromisoformat(str(found["timestamp"]).replace("Z", "+00:00"))
        return Stored(
            lago_id=str(found.get("lago_id") or ""),
            transaction_id=str(found["transaction_id"]),
            subscription=str(found["external_subscription_id"]),
            code=str(found["code"]),
            at=at if at.tzinfo else at.replace(tzinfo=UTC),
            properties=_object(found.get("properties") or {}),
        )
    except (KeyError, ValueError) as error:
        raise NonsenseError("Lago gave an event without its fields.") from error


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise NonsenseError("Lago answered with something that is no object.")
    return value


def _list(answer: Json, name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise NonsenseError(f"Lago answered without {name}.")
    return found
