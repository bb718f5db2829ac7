"""What the tunnel's views say no with: one table of statuses and close codes, read at the edge."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.exceptions import APIException

from accounts.auth import CredentialError, ScopeError, TooManyFailuresError
from accounts.reads import DatabaseAwayError
from mcp.closing import SessionError
from mcp.frames import FrameError

log = logging.getLogger(__name__)

JSON = "application/json"
AWAY_S = 5  # until somebody who met an outage may ask again
CODES = 4000  # a close code of the tunnel is this much more than HTTP's status
UNEXPECTED = "The gateway could not finish this request."


class BodyError(Exception):
    """A body that carries no frames. The text says what to send, and goes to the client."""


class EdgeError(Exception):
    """A request that was refused before it reached a view."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(text)
        self.status, self.headers = status, dict(headers)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an exception is to the client."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


STATUS: dict[type[Exception], int] = {
    BodyError: 400,
    FrameError: 400,
    TooManyFailuresError: 429,
    CredentialError: 401,
    ScopeError: 403,
    DatabaseAwayError: 503,
}


def refusal(error: Exception, request_id: UUID) -> HttpResponse:
    """`error` as an answer. Beside DRF's `detail` stands the close code that a socket would get."""
    shown_id = f"req_{request_id.hex}"
    meaning = _meaning_of(error)
    if meaning.status == 500:
        log.error("%s failed", shown_id, exc_info=error)
    headers = {"request-id": shown_id, **meaning.headers}
    return HttpResponse(
        json.dumps(meaning.body), status=meaning.status, content_type=JSON, headers=headers
    )


def _meaning_of(error: Exception) -> Meaning:
    if isinstance(error, APIException):
        return _of_rest(error)
    if isinstance(error, EdgeError):
        body = {"detail": str(error), "code": CODES + error.status}
        return Meaning(error.status, body, error.headers)
    if isinstance(error, SessionError):
        return Meaning(error.status, {"detail": str(error), "code": error.code})
    kinds = type(error).__mro__
    status = next((STATUS[kind] for kind in kinds if kind in STATUS), 500)
    headers = {}
    if isinstance(error, TooManyFailuresError):
        headers["retry-after"] = str(math.ceil(error.retry_in_s))
    elif status == 503:
        headers["retry-after"] = str(AWAY_S)
    text = str(error) if status != 500 else UNEXPECTED
    return Meaning(status, {"detail": text, "code": CODES + status}, headers)


def _of_rest(error: APIException) -> Meaning:
    """As Django REST framework's own handler writes it."""
    told: Any = error.detail
    wait = getattr(error, "wait", None)
    headers = {"retry-after": str(math.ceil(wait))} if wait else {}
    return Meaning(error.status_code, told if isinstance(told, dict) else {"detail": told}, headers)
